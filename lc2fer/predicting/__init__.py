"""Expressions in pictures, folders, lists and films: what is read, judged, and written, and the two commands for it."""
