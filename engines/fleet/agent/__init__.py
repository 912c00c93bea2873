"""The forced command on a hypervisor: find, start, attach, stop and slots, never a shell."""
