"""The optimizer of ``gpubp train``, with a learning rate that follows a schedule."""

from gpubp._core.names import unknown
from gpubp.cli.train.options import LEARNING_RATES, TrainOptions
from gpubp.errors import DataError
from gpubp.optim.first_order import Optimizer, get_optimizer
from gpubp.optim.schedules import SCHEDULES, InverseScaling, Schedule, WarmUp
from gpubp.optim.second_order import SecondOrder
from gpubp.tabular import make_optimizer


def scheduled_optimizer(options: TrainOptions) -> Optimizer | SecondOrder:
    """Return the optimizer of the options; its learning rate is the first, or the highest, of the schedule.

    Raises
    ------
    DataError
        If there is no such optimizer or schedule, or the optimizer chooses its own step lengths.
    """
    optimizer, name = make_optimizer(options.optimizer, options.learning_rate), options.schedule
    if name not in LEARNING_RATES:
        raise DataError(unknown("--schedule", name, LEARNING_RATES))
    if name == "constant" and not options.warm_up:
        return optimizer
    if isinstance(optimizer, SecondOrder):
        raise DataError(f"{optimizer.name} chooses its own step lengths; omit --schedule and --warm-up")
    rate, epochs = optimizer.settings["learning_rate"], options.epochs
    assert isinstance(rate, float)
    chosen: float | Schedule = rate
    if name in SCHEDULES:
        chosen = SCHEDULES[name](rate, epochs)
    elif name == "invscaling":
        chosen = InverseScaling(rate)
    return get_optimizer(
        options.optimizer, learning_rate=WarmUp(options.warm_up, chosen) if options.warm_up else chosen
    )
