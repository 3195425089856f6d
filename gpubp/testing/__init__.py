"""Compare a device with NumPy, within a table of tolerances.

In your own tests, on the machine with the GPU::

    from gpubp.testing import assert_agreement

    assert_agreement("cuda")
"""

from gpubp.testing._agreement import Agreement as Agreement
from gpubp.testing._agreement import assert_agree as assert_agree
from gpubp.testing._agreement import check_agreement as check_agreement
from gpubp.testing._agreement import compare as compare
from gpubp.testing._agreement import deviation as deviation
from gpubp.testing._agreement import left_out as left_out
from gpubp.testing._assertions import assert_agreement as assert_agreement
from gpubp.testing._assertions import assert_functions_agree as assert_functions_agree
from gpubp.testing._comparison import Comparison as Comparison
from gpubp.testing._comparisons import comparisons as comparisons
from gpubp.testing._tolerances import TOLERANCES as TOLERANCES
from gpubp.testing._tolerances import Tolerance as Tolerance
