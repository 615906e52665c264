"""What trees say of sequences: soft labels, from which a term of surprise learns.

On services that they were not trained on, trees of two kinds together judge better than a network that learns from
the same labels, but what they say has no exact shares, and nothing else in a checkpoint is a tree. A network that
learns to say what they do (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015) reads the same
features, and judges better than one that learns from labels, among which are sequences whose fault does not show. Of
what is odder than anything in training trees say no more than of that, and so does what they have taught.
"""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from logmoe.training.episodes import Episodes

BOOSTED_TREES, RANDOM_TREES = 200, 150
# Of all features, at each split.
SHARE_OF_FEATURES = 0.2
# Logits are of probabilities drawn so far from 0 and 1.
LEAST_PROBABILITY = 1e-3


def teach(episodes: Episodes, rows: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities of "anomaly" by gradient boosting (Friedman, 2001) and by extremely randomised trees (Geurts et
    al., 2006), averaged in logits, half a weight each.

    Args:
        episodes: what is judged.
        rows: int64 `(drawn,)`, sequences of these that the trees learn from, in the order of their drawing; the
            randomised ones from the first half of them.
        seed: of what trees draw.

    Returns:
        float32 `(sequences,)`.
    """
    is_anomalous = episodes.visible > 0
    boosted = HistGradientBoostingClassifier(
        max_iter=BOOSTED_TREES,
        learning_rate=0.05,
        max_leaf_nodes=15,
        l2_regularization=5.0,
        max_features=SHARE_OF_FEATURES,
        random_state=seed,
    )
    randomised = ExtraTreesClassifier(
        RANDOM_TREES, min_samples_leaf=8, max_features=SHARE_OF_FEATURES, random_state=seed
    )
    logits = np.zeros(len(episodes))
    for trees, learned_from in ((boosted, rows), (randomised, rows[: len(rows) // 2])):
        trees.fit(episodes.inputs[learned_from], is_anomalous[learned_from])
        probability = trees.predict_proba(episodes.inputs)[:, 1]
        logits += 0.5 * np.log((probability + LEAST_PROBABILITY) / (1 - probability + LEAST_PROBABILITY))
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)
