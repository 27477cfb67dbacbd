"""Time and memory of this project beside other ways of doing the same; `make bench`."""
