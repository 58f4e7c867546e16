"""`pycron setup`: plans an installation or its removal, and carries the plan out."""
