"""A diagnosis for people and for programs: text, JSON, HTML."""
