"""`pycron import`: finds the tables of another cron, plans, applies and undoes."""
