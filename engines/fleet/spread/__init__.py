"""Work of the fleet handed to other controllers over Dask, and done here where none of them does it."""
