"""The practice gateway: speaks the IB API with named faults; the demo, the fault rehearsal and the test peer."""
