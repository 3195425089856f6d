"""A pandas frame in a pipeline: mixed columns, a scaled target, a search, and permutation importance."""

import warnings

from matplotlib.figure import Figure
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gpubp import MLPRegressor

warnings.simplefilter("ignore", ConvergenceWarning)

frame, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
frame["sex"] = frame["sex"].map({1.0: "a", 2.0: "b"})
X, X_test, y, y_test = train_test_split(frame, progression, random_state=0)

columns = make_column_transformer((OneHotEncoder(drop="if_binary"), ["sex"]), remainder=StandardScaler())
network = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=200, random_state=0)
model = TransformedTargetRegressor(make_pipeline(columns, network), transformer=StandardScaler())
search = GridSearchCV(model, {"regressor__mlpregressor__alpha": [1.0, 10.0, 100.0]}, cv=4).fit(X, y)

print(f"best parameters: {search.best_params_}")
print(f"R^2 {search.best_score_:.3f} in cross-validation, {search.score(X_test, y_test):.3f} on new rows")
importances = permutation_importance(search, X_test, y_test, random_state=0).importances_mean
order = importances.argsort()
for column in order[:-5:-1]:
    print(f"{frame.columns[column]:6s} {importances[column]:.3f}")

figure = Figure((7.0, 4.2), dpi=200, layout="constrained")
ax = figure.add_subplot(xlabel="drop of R² when the column is shuffled")
ax.barh(frame.columns[order], importances[order])
figure.savefig("importance.png")
