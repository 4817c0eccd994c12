"""`evaluate` reports the same bytes on 1, 2 and 3 ranks, started by `lockstep` or by mpirun, and
what numpy computes from the outputs that `predict` writes; its gates decide the exit code."""

import json

import h5py
import numpy as np

from lab import Lab, check, check_contains

TRAIN = """
train: {{steps: 8, global_batch: 32, micro_batch: 8, optimizer: {{name: adam, lr: {lr}}}}}
data:  {{train: {name}-train.h5, test: {name}-test.h5}}
evaluate: {{batch: 37}}
"""
KINDS = {
    "classes": ("model: {name: mlp, hidden: [16]}",
                ["classification", "--features", 12, "--classes", 7], 400),
    "two": ("model: {name: mlp, hidden: [8]}",
            ["classification", "--features", 12, "--classes", 2], 400),
    "numbers": ("model: {name: mlp, hidden: [16]}", ["regression", "--features", 12], 400),
    "tokens": ("model: {name: gpt, layers: 1, width: 16, heads: 2, context: 8}", ["tokens"], 3000),
}


def close(found, expected, what):
    check(found is not None and abs(found - expected) <= 1e-6 * max(1, abs(expected)),
          f"{what} is {found}, numpy says {expected}")


def auc(scores, positive):
    above = scores[positive][:, None] - scores[~positive][None, :]
    return ((above > 0).sum() + 0.5 * (above == 0).sum()) / above.size


def check_classes(report, outputs, labels):
    outputs = outputs.astype(np.float64)
    answers = outputs.argmax(1)
    classes = outputs.shape[1]
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, answers), 1)
    check(report["confusion_matrix"] == confusion.tolist(), "the confusion matrix is wrong")
    metrics = report["metrics"]
    close(metrics["accuracy"], (answers == labels).mean(), "accuracy")
    logs = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    close(metrics["loss"], -logs[np.arange(len(labels)), labels].mean(), "loss")
    if classes > 5:
        ranks = (outputs > outputs[np.arange(len(labels)), labels][:, None]).sum(1)
        close(metrics["top_5"], (ranks < 5).mean(), "top_5")
    curves = []
    for c, entry in enumerate(report["classes"]):
        right, support, predicted = confusion[c, c], confusion[c].sum(), confusion[:, c].sum()
        check(entry["support"] == support and entry["predicted"] == predicted, "counts are wrong")
        close(entry["recall"], right / support, "recall")
        close(entry["precision"], right / predicted if predicted else 0, "precision")
        close(entry["f1"], 2 * right / (support + predicted), "f1")
        others = np.log(np.exp(np.delete(outputs, c, 1)).sum(1))
        curves.append(auc(outputs[:, c] - others, labels == c))
        close(entry["roc_auc"], curves[-1], "roc_auc of a class")
    close(metrics["roc_auc"], np.mean(curves), "roc_auc")
    close(metrics["macro_f1"], np.mean([e["f1"] for e in report["classes"]]), "macro_f1")


def check_numbers(report, outputs, targets):
    outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
    targets = targets.astype(np.float64).reshape(len(targets), -1)
    errors = outputs - targets
    close(report["metrics"]["mse"], (errors ** 2).mean(), "mse")
    close(report["metrics"]["mae"], np.abs(errors).mean(), "mae")
    r2 = 1 - (errors ** 2).sum(0) / ((targets - targets.mean(0)) ** 2).sum(0)
    close(report["metrics"]["r2"], r2.mean(), "r2")


with Lab() as lab:
    for name, (model, synth, rows) in KINDS.items():
        for part, seed in (("train", 1), ("test", 2)):
            lab.lockstep("data", "synth", *synth, "--rows", rows, "--seed", seed,
                         "--output", f"{name}-{part}.h5")
        lab.write(f"{name}.yaml", model + TRAIN.format(name=name, lr="1e-2"))
        lab.lockstep("train", f"{name}.yaml", "--local", "--name", name)

        text = lab.lockstep("evaluate", name, "--json").stdout
        for ranks in (2, 3):
            other = lab.lockstep("evaluate", name, "--json", "--ranks", ranks,
                                 "--output", f"{name}-{ranks}.json").stdout
            check(other == text, f"{name} on {ranks} ranks:\n{other}\nalone:\n{text}")
            check((lab.path / f"{name}-{ranks}.json").read_text() == text, "the file differs")
        check(lab.mpirun(3, "evaluate", f"runs/{name}", "--json").stdout == text, "mpirun differs")

        report = json.loads(text)
        check(report["metrics"]["loss"] == lab.show(name)["metrics"]["loss"],
              "the loss is not that of the run's own evaluation")
        check(report["state_digest"] == lab.show(name)["state_digest"], "another state")
        lab.lockstep("predict", name, "--output", "p.h5", "--ranks", 2)
        with h5py.File(lab.path / "p.h5") as found, h5py.File(lab.path / f"{name}-test.h5") as data:
            outputs = found["predictions"][()]
            if name in ("classes", "two"):
                check_classes(report, outputs, data["y"][()].astype(int))
            elif name == "numbers":
                check_numbers(report, outputs, data["y"][()])
            else:
                close(report["metrics"]["perplexity"], np.exp(report["metrics"]["loss"]),
                      "perplexity")
                check("classes" not in report, "tokens have no table of classes")

    shown = lab.lockstep("evaluate", "classes", "--top-k", "1,3").stdout
    check_contains(shown, "top_1", "top_3", "confusion matrix", "precision", "mean")
    checkpoint = "runs/classes/checkpoints/step-00000008"
    check(lab.lockstep("evaluate", checkpoint, "--top-k", "1,3").stdout == shown,
          "the named checkpoint has other metrics")
    other = json.loads(lab.lockstep("evaluate", "classes", "data.test=classes-train.h5",
                                    "--json").stdout)
    check(other["data"] == "classes-train.h5", "the override has no effect")

    for ranks in (1, 2):
        lab.lockstep("evaluate", "classes", "--ranks", ranks, "--min", "accuracy=0",
                     "--max", "loss=1e9")
        failed = lab.lockstep("evaluate", "classes", "--ranks", ranks, "--min", "accuracy=1.5",
                              "--max", "loss=1e9", code=7)
        check_contains(failed.stderr, "accuracy is 0.", "at least 1.5")
        check_contains(failed.stdout, "confusion matrix")
    for options, words in ((["--min", "acuracy=1"], ["acuracy", "it has loss, accuracy"]),
                           (["--min", "accuracy"], ["METRIC=NUMBER"]),
                           (["--top-k", "8"], ["there are 7 classes"]),
                           (["--top-k", "0"], ["top-k"]),
                           (["--roc-auc", "maybe"], ["roc-auc"]),
                           (["nonsense"], ["changes nothing"])):
        done = lab.lockstep("evaluate", "classes", *options, "--output", "no.json", code=2)
        check_contains(done.stderr, *words)
        check(not (lab.path / "no.json").exists(), f"{options} left a report")

    # What all ranks find wrong is told once, and an output's folder is looked for first of all.
    for verb, end in (("evaluate", "json"), ("predict", "h5")):
        for start in (lambda *words: lab.lockstep(*words, "--ranks", 3, code=2),
                      lambda *words: lab.mpirun(3, *words, code=2)):
            done = start(verb, "runs/classes", "--output", f"missing/a.{end}")
            check(done.stderr.count("there is no folder 'missing'") == 1, done.stderr)
            check(not (lab.path / "missing").exists(), "the folder was made")
    done = lab.mpirun(3, "evaluate", "runs/classes", "~data.test", code=2)
    check(done.stderr.count("names no data.test") == 1, done.stderr)
    for verb, words in (("evaluate", []), ("predict", ["--output", "none.h5"])):
        done = lab.mpirun(3, verb, "runs/classes", "data.test=gone.h5", *words, code=3)
        check(done.stderr.count("gone.h5") == 1, done.stderr)
    lab.lockstep("predict", "numbers", "--classes", "--output", "no.h5", code=2)
    check(not (lab.path / "no.h5").exists(), "a refused prediction left a file")
    lab.lockstep("predict", "classes", "--classes", "--probabilities", "--output", "both.h5")
    with h5py.File(lab.path / "both.h5") as both:
        check(sorted(both) == ["classes", "probabilities"], f"it holds {list(both)}")
        check((both["classes"][()] == both["probabilities"][()].argmax(1)).all(), "other classes")
