"""Files in a folder or in object storage: for everyone whose system has no connector of its own."""
