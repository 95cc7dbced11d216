"""What bin/up does once everything is installed: start the processes, keep them, end them."""
