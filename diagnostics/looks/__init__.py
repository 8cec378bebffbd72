"""One route, looked at again and again: check, wait and watch."""
