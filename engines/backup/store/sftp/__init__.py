"""A repository on a far machine, over the sftp subsystem of its sshd."""
