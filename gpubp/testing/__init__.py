"""Compare a device with NumPy, in your own tests and CI.

>>> from gpubp.testing import check_agreement
>>> all(row.ok for row in check_agreement("cpu"))
True
"""

from gpubp.testing.agreement import TOLERANCES as TOLERANCES
from gpubp.testing.agreement import Agreement as Agreement
from gpubp.testing.agreement import Tolerance as Tolerance
from gpubp.testing.agreement import assert_agree as assert_agree
from gpubp.testing.agreement import check_agreement as check_agreement

__all__ = ["TOLERANCES", "Agreement", "Tolerance", "assert_agree", "check_agreement"]
