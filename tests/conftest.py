"""No test reads or changes what the person at this machine has kept."""

import os
import tempfile

os.environ["RINGVIZ_STATE"] = tempfile.mkdtemp(prefix="ringviz-tests-")
