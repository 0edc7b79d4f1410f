"""The paper's formulas once more, in plain Python loops, for the tests to compare with.

Nothing here is shared with the package: no tensor operation beyond reading single numbers.
"""

import math

INFINITY = float("inf")


def cosine_similarity(points: list[list[float]]) -> list[list[float]]:
    def length(x: list[float]) -> float:
        return math.sqrt(math.fsum(v * v for v in x))

    def cosine(x: list[float], y: list[float]) -> float:
        if length(x) == 0 or length(y) == 0:
            return 0.0
        return math.fsum(a * b for a, b in zip(x, y, strict=True)) / (length(x) * length(y))

    return [[cosine(x, y) for y in points] for x in points]


def similarity_threshold(similarity: list[list[float]], top_share: float, *, diagonal: bool = True) -> float:
    """The largest entry that has at least this share of the entries above it or equal to it, counted one by one."""
    m = len(similarity)
    entries = [similarity[i][j] for i in range(m) for j in range(m) if diagonal or i != j or m == 1]
    entries.sort(reverse=True)
    above = math.floor(round(top_share * len(entries), 6))  # this many places belong to the top
    return entries[min(above, len(entries) - 1)]


def density(similarity: list[list[float]], threshold: float) -> list[int]:
    return [sum((entry > threshold) - (entry < threshold) for entry in row) for row in similarity]


def eta(similarity: list[list[float]], rho: list[int], *, rho_ties: str = "strict") -> list[float]:
    found = []
    for i, row in enumerate(similarity):
        best = -INFINITY
        for j, entry in enumerate(row):
            earlier_twin = rho_ties == "order" and rho[j] == rho[i] and j < i
            if (rho[j] > rho[i] or earlier_twin) and entry > best:
                best = entry
        found.append(min(row) if best == -INFINITY else best)
    return found


def choose(rho: list[int], eta: list[float], *, p: int, eta_max: float, fill_up: bool, cut_ties: str) -> list[int]:
    """Pick one prototype after the other, each time looking at every sample that is left."""
    left, chosen = set(range(len(rho))), []

    def better(i: int, j: int) -> bool:
        if rho[i] != rho[j]:
            return rho[i] > rho[j]
        if cut_ties == "eta" and eta[i] != eta[j]:
            return eta[i] < eta[j]
        return i < j

    while left and len(chosen) < p:
        passing = [i for i in left if eta[i] < eta_max]
        if passing:
            best = passing[0]
            for i in passing:
                if i != best and better(i, best):
                    best = i
        elif fill_up:
            best = min(left, key=lambda i: (eta[i], i))
        else:
            break
        left.remove(best)
        chosen.append(best)
    return chosen


def class_scores(points: list[list[float]], prototypes: list[list[list[float]]]) -> list[list[float]]:
    scores = []
    for x in points:
        row = []
        for members in prototypes:
            cosines = [cosine_similarity([x, member])[0][1] for member in members]
            row.append(math.fsum(cosines) / len(cosines) if cosines else -INFINITY)
        scores.append(row)
    return scores


def correct_labels(scores: list[list[float]], noisy_labels: list[int], *, score_ties: str = "noisy") -> list[int]:
    corrected = []
    for row, given in zip(scores, noisy_labels, strict=True):
        best = [c for c, score in enumerate(row) if score == max(row)]
        corrected.append(given if score_ties == "noisy" and given in best else best[0])
    return corrected


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    parts = [math.exp(x - top) for x in logits]
    return [part / math.fsum(parts) for part in parts]


def cross_entropy(logits: list[list[float]], labels: list[int]) -> float:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        top = max(row)
        losses.append(top + math.log(sum(math.exp(x - top) for x in row)) - row[label])
    return math.fsum(losses) / len(losses)


def mean_over_samples(logits: list[list[float]], labels: list[int], loss) -> float:
    """The mean of ``loss(p, y)``, p being the softmax of a row."""
    return math.fsum(loss(softmax(row), y) for row, y in zip(logits, labels, strict=True)) / len(labels)


def neighbour_scores(points, labels, candidates, *, classes: int, k: int) -> list[list[float]]:
    """Votes of the k most similar of some candidates, the sample itself left out."""
    scores = []
    for i in range(len(points)):
        others = [j for j in candidates if j != i]
        others.sort(key=lambda j: -cosine_similarity([points[i], points[j]])[0][1])
        nearest = others[: min(k, len(candidates) - 1)]
        scores.append([sum(labels[j] == c for j in nearest) / len(nearest) for c in range(classes)])
    return scores


def label_margin(scores: list[list[float]], noisy_labels: list[int]) -> list[float]:
    found = []
    for row, given in zip(scores, noisy_labels, strict=True):
        other = max((score for c, score in enumerate(row) if c != given), default=-INFINITY)
        found.append(0.0 if other == row[given] else row[given] - other)
    return found
