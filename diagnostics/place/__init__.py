"""Where this runs, and which routes could lead to a gateway from there."""
