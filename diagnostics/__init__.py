"""ib-diagnose: which route to IB Gateway works, at which stage the others fail, and why."""
