"""`blindvsr score`, and what `blindvsr test` prints: tables of folders of results, and a page to look at."""
