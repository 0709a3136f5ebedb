"""CSV files in a folder: for everyone whose system has no connector of its own."""
