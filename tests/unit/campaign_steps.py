"""A campaign whose steps are not run: each leaves the result that a test wants, in the time that it wants."""

import json

from chatload.children import ChildEnd
from chatload.features.campaign.campaign_file import load_campaign
from chatload.features.campaign.course import CampaignCourse
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.results import COPY_FILE, RESULT_FILES, write_rules
from chatload.features.campaign.rules import CampaignStep
from chatload.target import TargetRules

DOCTOR, PROBE, CAPACITY, TUNE, PLAN, PROOF = CampaignStep
FILE = """
host = "http://127.0.0.1:9"
chats_per_hour = 4000
handling_time = "48s"
flex_disconnect_timeout = "4.5s"
target_drop_rate = "5%"
time_available = "30m"
"""
ARM = {"sessions": 176, "least": 0, "most": 0, "upper": 0.0169}
INTERVAL = {
    "lower": 40, "upper": 40, "confidence": 0.9, "drops": 0, "chat_hours": 0.1, "drops_per_chat_hour_upper": 27.0,
    "requests_per_s": 33.0,
}  # fmt: skip
DROPS = {"least": 0, "most": 0, "rate": 0.0, "low": 0.0, "high": 1.5, "confidence": 0.95}
#: The keys that a campaign reads, of the results of a server with a timeout of 3.6 s and a limit of 40 chats.
RESULTS = {
    DOCTOR: {"state": "warn", "checks": [{"name": "load", "state": "warn", "found": "2 processes", "change": "end"}]},
    PROBE: {"timeout_s": 3.6, "timeout_lower_s": 3.5931, "timeout_upper_s": 3.601, "sessions_opened": 52},
    CAPACITY: {"kind": "limit", "held": 40, "why": "", "capacity": INTERVAL},
    TUNE: {
        "result": "recommended", "target": 0.05, "confidence": 0.95,
        "recommended": {"fraction": 0.8, "interval_s": 2.8744},
        "arms": [{"fraction": part, "interval_s": 3.593 * part, **ARM} for part in (0.5, 0.8, 0.9)],
    },
    PLAN: {
        "answer": "3 servers: 2 carry the peak of 77 chats open at once, 1 to spare",
        "servers": {"needed": 2, "spare": 1, "total": 3}, "peak": {"mean_chats": 53.3, "chats": 77}, "headroom": 1.05,
        "constraints": [{"name": "sessions_per_server", "needed": 77, "per_server": 40, "origin": "capacity search"}],
        "doubt": {"chances": [{"servers": 1, "chance": 0.035}, {"servers": 2, "chance": 0.9997}]},
    },
    PROOF: {
        "result": "passed", "confidence": 0.95, "sessions": {"started": 160, "accepted": 160},
        "exposure": {"chat_hours": 1.9, "dropped_per_chat_hour": DROPS}, "rates": {"dropped": DROPS},
        "thresholds": [{"expression": "dropped.rate < 5%", "result": "pass", "why": "0 of 160 sessions"}],
        "invalid_reasons": [], "settings": {"approval_id": "CHG-1", "allowed_hours": ["Mon-Fri 08:00-18:00 UTC"]},
        "started_at": 1000.0, "ended_at": 1100.0,
    },
}  # fmt: skip


def step_of(command):
    """The step that a command line is for."""
    name = command[command.index("chatload") + 1]
    if name == "run":
        return {"capacity": CAPACITY, "arrivals": PROOF}[command[command.index("run") + 1]]
    return CampaignStep(name)


class StagedHost:
    """A host that is up, unless `down` says why it is not."""

    down = ""

    def trouble(self):
        return self.down

    def is_up(self):
        return not self.down


class StagedCampaign:
    """A campaign in a folder. exits, results: by step, in place of 0 and of RESULTS; took_s: by step, instead of 60 s.

    interrupts: the steps during which a signal comes. outages: those during which the host goes down. commands: of all
    steps that were begun. said: to the user.
    """

    def __init__(self, folder, text=FILE, rules=TargetRules()):
        self.folder, self.rules = folder, rules
        folder.mkdir(exist_ok=True)
        (folder / COPY_FILE).write_text(text)
        write_rules(folder, rules)
        self.exits, self.results, self.took_s, self.interrupts, self.outages = {}, {}, {}, set(), set()
        self.host = StagedHost()
        self.commands, self.said = {}, []
        self.now = 1_000_000.0

    def run(self):
        findings = Findings(load_campaign(self.folder / COPY_FILE), self.folder, self.rules)
        return CampaignCourse(findings, self.said.append, self._child, self.host, lambda: self.now).run()

    @property
    def found(self):
        return Findings(load_campaign(self.folder / COPY_FILE), self.folder, self.rules)

    @property
    def begun(self):
        return [step.value for step in self.commands]

    def _child(self, command, output, wanted):
        step = step_of(command)
        self.commands[step] = list(command)
        self.now += self.took_s.get(step, 60.0)
        if step in self.interrupts:
            output.write_text('{"half')
            return ChildEnd(0, asked_by=15)
        if step in self.outages:
            self.host.down = "connection refused"
        result = {**RESULTS[step], **self.results.get(step, {})}
        printed = step in (DOCTOR, PROBE, PLAN)
        (output if printed else output.with_name(RESULT_FILES[step])).write_text(json.dumps(result))
        return ChildEnd(self.exits.get(step, 0), unwanted=not wanted())


def option(command, flag):
    """The value of an option in a command line."""
    return command[command.index(flag) + 1]
