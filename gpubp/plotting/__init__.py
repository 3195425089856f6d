"""Pictures of networks and of their training, drawn with Matplotlib, which is imported on first use.

Each function draws into the given Axes or into a new figure, and returns the Axes; ``ax.figure`` is the figure. No
global state of Matplotlib changes. A model is a pair ``(network, theta)``, a :class:`~gpubp.training.result.Fit`, a
:class:`~gpubp.io.model_file.Model`, or a fitted estimator.
"""

from gpubp.plotting._decision_boundary import decision_boundary as decision_boundary
from gpubp.plotting._hidden_layers import hidden_heat_map as hidden_heat_map
from gpubp.plotting._hidden_layers import hidden_projection as hidden_projection
from gpubp.plotting._hinton_diagram import hinton_diagram as hinton_diagram
from gpubp.plotting._importance_bars import importance_bars as importance_bars
from gpubp.plotting._learning_curves import learning_curve as learning_curve
from gpubp.plotting._learning_curves import learning_curves as learning_curves
from gpubp.plotting._learning_curves import save_learning_curve as save_learning_curve
from gpubp.plotting._learning_rates import learning_rate_curve as learning_rate_curve
from gpubp.plotting._loss_surface import loss_surface as loss_surface
from gpubp.plotting._network_diagram import network_diagram as network_diagram
from gpubp.plotting._partial_dependence import partial_dependence_curve as partial_dependence_curve
from gpubp.plotting._reliability_diagram import reliability_diagram as reliability_diagram
