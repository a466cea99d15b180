"""What the services need on a host: settings, secret files, a listening socket, logs, serving until told to stop."""
