"""Deep self-learning from noisy labels (SMP) on handwritten digits, whole, in one file.

    python examples/smp_one_file.py --epochs 30 --alpha 0.5

Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019. From the epoch --start on, two phases alternate:
correction gives every image a label by prototypes of the network's own embeddings G(x), training fits both labels.
"""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

K = 10


def noisy_digits(noise_rate, seed):
    """Digits of 8 x 8 pixels; 30 % are held out, of the others a share is named after the digit that they resemble."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    x, order = images.float().view(-1, 1, 8, 8) / 16, torch.randperm(len(images), generator=generator)
    train, test = order[540:], order[:540]
    clean = labels[train]
    distance, same = torch.cdist(images[train], images[train]), clean[:, None] == clean
    other, rival = distance.masked_fill(same, torch.inf).min(dim=1)  # the closest image of another digit
    own = distance.fill_diagonal_(torch.inf).masked_fill(~same, torch.inf).amin(dim=1)
    doubt = own / other + torch.rand(len(clean), generator=generator)
    confused = doubt.argsort(descending=True)[: round(noise_rate * len(clean))]
    noisy = clean.clone()
    noisy[confused] = clean[rival[confused]]
    return x[train], noisy, clean, x[test], labels[test]


def build_network():
    """F(x) = f(G(x)): G gives the embedding, f is the last fully connected layer."""
    G = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 64), nn.ReLU(),
    )  # fmt: skip
    return G, nn.Sequential(G, nn.Linear(64, K))


def select_prototypes(embeddings, noisy_labels, p, m, generator):
    """For each class the rows of its p prototypes: dense samples that do not look like a denser one."""
    prototypes = []
    for c in range(K):
        rows = (noisy_labels == c).nonzero().flatten()
        if len(rows) > m:
            rows = rows[torch.randperm(len(rows), generator=generator)[:m]].sort().values
        G = F.normalize(embeddings[rows])
        S = G @ G.T
        S_c = S.flatten().kthvalue((6 * S.numel() + 9) // 10).values  # 40 % of the entries lie above it
        rho = (S - S_c).sign().sum(dim=1)
        denser = rho[None, :] > rho[:, None]
        eta = torch.where(denser.any(dim=1), S.where(denser, -torch.inf).amax(dim=1), S.amin(dim=1))
        order = eta.argsort(stable=True)  # equal densities: the smaller eta first
        rank = rho.where(eta < 0.95, -torch.inf)[order]  # the densest that pass; then, to fill up, the smallest eta
        prototypes.append(rows[order[rank.argsort(descending=True, stable=True)][:p]])
    return prototypes


def correct_labels(embeddings, prototypes, noisy_labels):
    """The class whose prototypes a sample resembles most on average; in a tie the noisy label, then the lowest."""
    G = F.normalize(embeddings)
    sigma = torch.stack([(G @ G[rows].T).mean(dim=1) for rows in prototypes], dim=1)
    best = sigma == sigma.amax(dim=1, keepdim=True)
    keeps = best.gather(1, noisy_labels[:, None]).squeeze(1)
    return torch.where(keeps, noisy_labels, best.int().argmax(dim=1))


def train_epoch(network, optimizer, x, y, y_hat, alpha):
    """One epoch on (1 - alpha) * CE(F(x), y) + alpha * CE(F(x), y_hat)."""
    network.train()
    for i in torch.randperm(len(x)).split(32):  # y and y_hat are kept by the samples' index
        logits = network(x[i])
        loss = (1 - alpha) * F.cross_entropy(logits, y[i]) + alpha * F.cross_entropy(logits, y_hat[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fit(data, alpha, args):
    """Correct if it is due, train an epoch, evaluate; returns the last test accuracy."""
    x, y, clean, test_x, test_y = data
    torch.manual_seed(args.seed)
    G, network = build_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-3)
    y_hat = y  # until the first correction: the noisy labels alone
    for epoch in range(args.epochs):
        if alpha and epoch >= args.start:
            network.eval()
            with torch.no_grad():
                embeddings = G(x)
            generator = torch.Generator().manual_seed(1000 * args.seed + epoch)
            y_hat = correct_labels(embeddings, select_prototypes(embeddings, y, args.p, args.m, generator), y)
        train_epoch(network, optimizer, x, y, y_hat, alpha)
        network.eval()
        with torch.no_grad():
            accuracy = (network(test_x).argmax(dim=1) == test_y).float().mean()
        was, now = y == clean, y_hat == clean
        fixed, broken = (~was & now).float().mean(), (was & ~now).float().mean()
        print(f"epoch {epoch + 1:2d}  test accuracy {accuracy:5.1%}  labels fixed {fixed:5.1%}, broken {broken:5.1%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.5, help="weight of the corrected labels")
    parser.add_argument("--p", type=int, default=8, help="prototypes a class")
    parser.add_argument("--m", type=int, default=100, help="samples a class that prototypes are chosen from")
    parser.add_argument("--start", type=int, default=5, help="epochs trained on noisy labels alone")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = noisy_digits(0.4, args.seed)
    print(f"{len(data[0])} images, {(data[1] != data[2]).float().mean():.0%} of the labels are wrong")
    smp, cross_entropy = fit(data, args.alpha, args), fit(data, 0, args)
    print(f"test accuracy after {args.epochs} epochs: SMP {smp:.1%}, cross-entropy {cross_entropy:.1%}")
