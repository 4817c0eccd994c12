"""A save that fails because the disk is full leaves the checkpoint before it, is warned of, and does
not stop training; where the run ends with it, the run says so and fails. Saving in the background or
not makes no difference to what is learned."""

from lab import Lab, check, check_contains

CONFIG = """
model: {name: mlp, hidden: [256, 256]}
data:  {train: train.h5}
train: {steps: 40, global_batch: 64, micro_batch: 16, optimizer: {name: adamw, lr: 1e-3}}
checkpoint: {every_steps: 10, every_epochs: 0, keep: 10, best: none}
"""


def events(lab, run, kind):
    return [event for event in lab.lines(run, "events.jsonl") if event["event"] == kind]


def saved_steps(lab, run):
    return [checkpoint["step"] for checkpoint in lab.show(run)["checkpoints"]]


def fault(text):
    return {"LOCKSTEP_FAULT": text}


with Lab() as lab:
    lab.lockstep("data", "synth", "classification", "--rows", 1000, "--features", 64,
                 "--classes", 10, "--output", "train.h5")
    lab.write("exp.yaml", CONFIG)

    lab.mpirun(2, "train", "exp.yaml", "run.name=ahead", "checkpoint.background=false")
    digest = lab.show("ahead")["state_digest"]
    check(saved_steps(lab, "ahead") == [10, 20, 30, 40], f"saved {saved_steps(lab, 'ahead')}")

    lab.mpirun(2, "train", "exp.yaml", "run.name=beside")
    check(lab.show("beside")["state_digest"] == digest, "the background changes the result")
    saved = events(lab, "beside", "checkpoint")
    check(saved[0]["step"] == 10 and saved[-1]["step"] == 40, f"saved {saved}")
    check(all(event["blocked_seconds"] <= event["seconds"] for event in saved), f"{saved}")
    digests = {line["digest_of_step"]: line["state_digest"]
               for line in lab.lines("beside", "ledger.jsonl") if "digest_of_step" in line}
    check(digests == {event["step"]: event["state_digest"] for event in saved},
          "ledger and events have other digests")
    lab.lockstep("verify", "beside")

    done = lab.mpirun(2, "train", "exp.yaml", "run.name=full", "checkpoint.every_steps=20",
                      environment=fault("disk-full rank=1 phase=save step=20"))
    check_contains(done.stderr, "checkpoint of step 20 was not saved", "training goes on",
                   "No space left on device")
    check([event["step"] for event in events(lab, "full", "checkpoint_failed")] == [20],
          "the failed save is not among the events")
    check(saved_steps(lab, "full") == [40], f"saved {saved_steps(lab, 'full')}")
    check(lab.show("full")["state_digest"] == digest, "a failed save changes the result")
    left = sorted(p.name for p in (lab.path / "runs/full/checkpoints").iterdir())
    check(left == ["step-00000040"], f"a failed save left {left}")

    failed = lab.mpirun(2, "train", "exp.yaml", "run.name=last", "checkpoint.every_steps=20", code=4,
                        environment=fault("disk-full rank=0 phase=save step=40"))
    check_contains(failed.stderr, "No space left on device", "rank 0")
    check(saved_steps(lab, "last") == [20], f"saved {saved_steps(lab, 'last')}")
    lab.mpirun(1, "resume", "runs/last")
    check(lab.show("last")["state_digest"] == digest, "it went on to another result")
    lab.lockstep("verify", "last")
