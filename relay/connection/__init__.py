"""One relayed connection: its phases from accept to the end record, and the flows that move its bytes."""
