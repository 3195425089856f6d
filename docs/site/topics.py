"""What readers search for, often in words of scikit-learn, and the parts of pages that say it.

Each is an entry of the site's index, which its search ranks first; Sphinx's search alone knows only which words a page
has, and not what it is about.
"""

TOPICS = {
    ("class weights", "class_weight", "class weight", "imbalanced classes"): (
        "reference/gpubp.MLPClassifier",
        "tables#From Python",
    ),
    ("sample weights", "sample_weight", "sample weight"): ("reference/gpubp.MLPClassifier", "tables#From Python"),
    ("hidden_layer_sizes", "early_stopping", "learning_rate_init", "learning_rate", "max_iter", "alpha"): (
        "reference/gpubp.MLPClassifier",
        "reference/gpubp.MLPRegressor",
    ),
    ("early stopping", "validation data"): ("callbacks", "reference/gpubp.MLPClassifier"),
    ("learning rate", "learning rates", "learning rate schedule"): ("callbacks#The learning rate",),
    ("missing values", "missing data", "nan", "imputation"): ("tables#Missing and other odd values",),
    ("gpu", "cuda"): ("devices", "start#A GPU, or why there is none"),
    ("install", "installation"): ("start#Install",),
    ("save model", "save a model", "load model", "load a model", "saving", "pickle", "joblib"): ("start#Keep a model",),
    ("dropout",): ("reference/gpubp.MLPClassifier", "reference/gpubp.MLPRegressor"),
    ("regularization", "weight decay", "l2"): ("reference/gpubp.MLPClassifier", "reference/gpubp.MLPRegressor"),
    ("activation functions", "activations", "activation"): ("reference/gpubp.nn.activations.get_activation",),
    ("loss functions", "losses"): ("reference/gpubp.nn.losses.get_loss",),
    ("solvers", "solver", "optimizers"): ("reference/gpubp.get_optimizer", "reference/gpubp.MLPClassifier"),
    ("multilabel", "multi-label", "probabilities"): ("reference/gpubp.MLPClassifier",),
    ("ensemble", "ensembles", "bagging", "restarts"): ("many_networks#Restarts and ensembles",),
    ("grid search", "cross-validation", "hyperparameters"): ("many_networks#Searches",),
    ("feature importance", "importance", "explain predictions"): (
        "reference/gpubp.permutation_importance",
        "tables#What a model has learned",
    ),
    ("partial dependence", "calibration"): ("tables#What a model has learned",),
    ("regression",): ("reference/gpubp.MLPRegressor", "reference/gpubp.TabularRegressor"),
    ("classification",): ("reference/gpubp.MLPClassifier", "reference/gpubp.TabularClassifier"),
    ("categorical features", "categories", "one-hot", "target encoding"): ("tables#Categories",),
    ("prediction intervals", "intervals", "quantiles"): ("tables#Honest scores",),
    ("csv", "excel", "parquet", "read data"): ("tables#Reading",),
    ("large data", "out of memory", "streaming"): ("scaling#Data larger than memory",),
    ("loss curve", "plot", "learning curves"): ("pictures#Training",),
    ("reproducible", "random_state", "random state", "seed"): ("agreement#What repeats to the bit",),
    ("onnx", "production", "serving"): ("deployment#ONNX",),
}
"""Phrases, and the places that answer them: pages, or headings of pages."""


def with_topics(page, text):
    """Return the text of a page with its entries of the index."""
    for phrases, places in TOPICS.items():
        for place in places:
            name, _, heading = place.partition("#")
            if name == page:
                text = with_entries(text, phrases, heading)
    return text


def with_entries(text, phrases, heading):
    entries = ", ".join(f"! {phrase}" for phrase in phrases)  # the mark ranks them as what a page is about
    if not text.startswith("# "):
        return text.replace("\n\n", f"\n\n.. index:: {entries}\n\n", 1)  # below the title, in reStructuredText
    directive = f"```{{index}} {entries}\n```\n"
    title = f"\n## {heading}\n" if heading else "\n"
    if title not in text:
        raise LookupError(f"no heading {heading!r} for {phrases}: fix docs/site/topics.py")
    return text.replace(title, f"\n{directive}{title}" if heading else f"\n\n{directive}", 1)
