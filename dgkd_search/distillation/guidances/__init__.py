"""Who teaches whom in a chain: the methods that a search chooses from, a class and a file each."""
