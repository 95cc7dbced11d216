"""The history: what was good of every feed, kept to query, export, train on and replay. ``store.py`` has the interface,
``parquet.py`` the store in files."""
