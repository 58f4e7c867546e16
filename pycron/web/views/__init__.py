"""The views of the page: what each path shows, and how."""
