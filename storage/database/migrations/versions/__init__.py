"""One file a change, newest last; a released one is never edited."""
