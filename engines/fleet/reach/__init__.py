"""From the controller to a hypervisor: one ssh a request, JSON both ways."""
