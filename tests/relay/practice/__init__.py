"""A package, so that test files here may be called like those of relay/wire."""
