"""What bin/up goes on as inside .venv. Lies beside the launcher, so that it imports nothing of the platform itself."""

import sys

from launcher.run import main

sys.exit(main(sys.argv[1:]))
