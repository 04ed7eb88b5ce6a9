# %% [markdown] tags=["en"]
# # Reading the report
#
# A release comes with numbers. This notebook goes through them one by one: what each says, what it does not say,
# and which one to look at first. It trains a tiny model for half a minute, on parts some of whose defects are
# very faint, so that there is something to read.

# %% [markdown] tags=["ko"]
# # 보고서 읽기
#
# 릴리스에는 수치가 따라옵니다. 이 노트북은 그 수치를 하나씩 짚어 봅니다. 무엇을 말하고, 무엇을 말하지 않으며, 무엇부터
# 봐야 하는지입니다. 아주 흐린 불량이 섞인 부품으로 작은 모델을 30초쯤 학습하므로, 읽을 거리가 생깁니다.

# %% same="setup"

# %% same="camera"

# %% [markdown] tags=["en"]
# ## A release to read
#
# `01-from-folder-to-release.ipynb` explains these steps. One thing is different: we play a person who got tired
# while labelling. Two clear defects are labelled as good parts.

# %% [markdown] tags=["ko"]
# ## 읽을 릴리스 만들기
#
# 이 단계들은 `01-from-folder-to-release.ipynb`에 설명되어 있습니다. 하나만 다릅니다. 라벨링하다 지친 사람 흉내를
# 냅니다. 뚜렷한 불량 두 개를 양품이라고 해 둡니다.

# %%
from inspection_datasets.importing import ImportPlan, import_dataset

folder = labelled_folder(WORK / "from-labelling-tool", lots=16, parts=24, seed=7, faintest=6)
wrongly_good = []
for path in sorted((folder / "labels").glob("LOT04_*.txt")):
    if path.read_text() and len(wrongly_good) < 2:
        picture = cv2.imread(str(folder / "images" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        if np.ptp(picture[:30]) > 75:  # a defect that nobody can overlook
            path.write_text("")
            wrongly_good.append(path.stem)
plan = ImportPlan(name="plate", val=0.25, test=0.35)
version, _ = import_dataset(folder, WORK / "dataset", plan)
print(wrongly_good, [s.split for s in version.samples if any(n in s.image for n in wrongly_good)])

# %%
from inspection_training.experiment import Experiment
from inspection_training.run import train_release

experiment = Experiment(
    model="yolov8n",
    width=0.125,
    imgsz=128,
    input_size=(96, 128),
    epochs=13,
    batch=8,
    optimizer="AdamW",
    lr=0.01,
    warmup_epochs=1,
    augment=("light",),
    precision="f32",
    threads=1,
    validations=0,
    nms_iou=0.5,
)
places = {"releases": WORK / "releases", "runs": WORK / "runs"}
network = train_release(experiment, version, part="plate", weights=None, **places)
print(network.release.name, network.seconds)

# %% [markdown] tags=["en"]
# ## The first table
#
# | word | what it counts |
# |---|---|
# | **escape** | defective parts that PASS: the customer gets them |
# | **overkill** | good parts that FAIL: you scrap or sort them again |
# | **review** | good parts for which a person is asked |
#
# Each is a count, a total, a rate, and in brackets the *interval*.

# %% [markdown] tags=["ko"]
# ## 첫 번째 표
#
# | 말 | 무엇을 세는가 |
# |---|---|
# | **미검(escape, 유출)** | 불량인데 합격한 부품: 고객에게 갑니다 |
# | **과검(overkill)** | 양품인데 불합격한 부품: 버리거나 다시 선별합니다 |
# | **재검(review)** | 양품인데 사람을 부른 부품 |
#
# 개수, 전체, 비율, 그리고 괄호 안에 *신뢰구간*이 있습니다.

# %%
from inspection_training.evaluation import inspect_split
from inspection_training.release import in_words

runs = {split: inspect_split(network.release.folder, version, split) for split in ("test", "val")}
numbers = {split: run.metrics() for split, run in runs.items()}


def rates_of(metrics):
    return {
        say("escape", "미검"): metrics["defective"]["escape"],
        say("overkill", "과검"): metrics["good"]["overkill"],
        say("review of good parts", "양품 재검"): metrics["good"]["review"],
        **{
            say(f"recall, {name}", f"검출률, {name}"): x
            for name, x in metrics["class_recall"].items()
        },
    }


show_table(["", "test"], [[name, in_words(x)] for name, x in rates_of(numbers["test"]).items()])

# %% [markdown] tags=["en"]
# ## What the brackets mean
#
# You looked at some parts, not at all parts that you will ever make. Another box of parts would have given another
# count. The interval holds every true rate with which your count is still plausible (exact, after Clopper and
# Pearson, 95 %). **Read its upper end first**: for escapes, that is the rate you cannot rule out.
#
# The same rate from more parts has a narrower interval. And zero is never zero: after 0 misses among 37 defective
# parts, a true escape rate of 7.8 % is still possible.

# %% [markdown] tags=["ko"]
# ## 괄호의 뜻
#
# 본 것은 부품 일부이지, 앞으로 만들 부품 전부가 아닙니다. 다른 상자를 열었다면 개수도 달랐을 것입니다. 신뢰구간은 지금
# 개수가 나올 법한 참 비율을 모두 담은 범위입니다(Clopper-Pearson 정확 구간, 95 %). **위쪽 끝부터 읽으십시오.** 미검에서는
# 그것이 "아니라고 할 수 없는" 비율입니다.
#
# 비율이 같아도 부품이 많으면 구간이 좁아집니다. 그리고 0은 0이 아닙니다. 불량 37개를 하나도 놓치지 않았어도 참 미검률이
# 7.8 %일 수 있습니다.

# %%
from inspection_training.statistics import clopper_pearson, upper_bound

rows = []
for count, total in ((0, 37), (0, 59), (0, 299), (1, 37), (10, 370), (100, 3700)):
    low, high = clopper_pearson(count, total)
    most = upper_bound(count, total)
    rows.append(
        [f"{count} / {total}", f"{100 * low:.1f} .. {100 * high:.1f} %", f"{100 * most:.1f} %"]
    )
show_table(
    [
        say("misses", "미검"),
        say("interval, two-sided 95 %", "95 % 양측 신뢰구간"),
        say("no more than, at 95 %", "95 % 상한"),
    ],
    rows,
)

# %% [markdown] tags=["en"]
# Two columns, two questions. The two-sided interval says where the rate lies. The bound says how bad it can be; it
# is what a claim rests on, and what the gates ask.
#
# ## Why `val` is flattered
#
# T1 and T2 were chosen on the `val` parts: so that few good `val` parts fail. Of course few do. That is an exam
# whose questions were known. Believe `test`.

# %% [markdown] tags=["ko"]
# 두 칸은 두 가지 질문에 답합니다. 양측 구간은 비율이 어디쯤인지, 상한은 얼마나 나쁠 수 있는지 말합니다. 보증 한도와 합격 기준은
# 상한을 봅니다.
#
# ## `val` 수치가 좋아 보이는 이유
#
# T1과 T2는 `val` 부품으로 정했습니다. `val`의 양품이 조금만 불합격하도록 정했으니 적게 나오는 것이 당연합니다. 문제를
# 미리 알고 본 시험입니다. `test`를 믿으십시오.

# %%
both = {split: rates_of(metrics) for split, metrics in numbers.items()}
show_table(
    ["", "val", "test"],
    [[name, in_words(both["val"][name]), in_words(both["test"][name])] for name in both["test"]],
)

# %% [markdown] tags=["en"]
# ## Lot by lot
#
# Are the errors spread over all lots, or do they come from one? One bad lot means light, material or a tool: a
# cause to look for on the shop floor, not in the model. With few lots, be modest: nothing is known of the next lot.

# %% [markdown] tags=["ko"]
# ## 로트별로
#
# 잘못된 판정이 여러 로트에 고루 있습니까, 한 로트에 몰려 있습니까? 한 로트에 몰려 있으면 조명, 소재, 공구처럼 모델이 아니라
# 현장에서 찾을 원인이 있습니다. 로트가 몇 개뿐이면 겸손해야 합니다. 다음 로트에 대해서는 아무것도 모릅니다.

# %%
from collections import Counter

from inspection.types import Decision

run = runs["test"]
made = run.decisions(run.recipe)
escaped, failed, total = Counter(), Counter(), Counter()
for sample, decision in zip(run.samples, made, strict=True):
    lot = Path(sample.image).name[:5]  # the names begin with it
    total[lot] += 1
    escaped[lot] += sample.state == "labelled" and decision is Decision.PASS
    failed[lot] += sample.state == "good" and decision is Decision.FAIL
show_table(
    [say("lot", "로트"), say("parts", "부품"), say("escapes", "미검"), say("overkill", "과검")],
    [[lot, total[lot], escaped[lot], failed[lot]] for lot in sorted(total)],
)

# %% [markdown] tags=["en"]
# ## Scores, T1 and T2
#
# Every part has a score: that of its most certain defect. Where dark and light bars stand apart, any limit between
# them is good. Where they overlap, every limit is a trade: lower it, and fewer defects escape, but more good parts
# fail. No limit repairs a model that cannot tell them apart.

# %% [markdown] tags=["ko"]
# ## 점수와 T1, T2
#
# 부품마다 점수가 있습니다. 가장 확실한 불량의 점수입니다. 진한 막대와 연한 막대가 떨어져 있으면 그 사이 아무 값이나
# 한계값으로 좋습니다. 겹쳐 있으면 무엇을 골라도 주고받기입니다. 낮추면 미검이 줄고 과검이 늡니다. 구별하지 못하는 모델은
# 어떤 한계값으로도 고칠 수 없습니다.

# %%
from inspection_training.scoring import part_score

scores = [max(part_score(found, name, run.recipe) for name in CLASSES) for found in run.found]
bad = sorted(x for x, s in zip(scores, run.samples, strict=True) if s.state == "labelled")
good = sorted(x for x, s in zip(scores, run.samples, strict=True) if s.state == "good")
limits = run.recipe.limits["scratch"]
figure = Figure(figsize=(9, 3))
axes = figure.subplots()
axes.hist(
    [good, bad],
    bins=np.linspace(0, 1, 31),
    color=["#7fb0d8", "#8f2020"],
    label=["good", "defective"],
)
axes.axvline(limits.t1, color="black", linestyle="--", label=f"T1 {limits.t1:.2f}")
axes.axvline(limits.t2, color="black", linestyle=":", label=f"T2 {limits.t2:.2f}")
axes.set(xlabel="score of the part", ylabel="parts", yscale="symlog")
axes.legend()
show_figure(figure)

# %% [markdown] tags=["en"]
# ## T1 by counting: the order-statistic rule
#
# To promise at most 10 % escape at 95 % confidence: sort the scores of the n defective parts that training never
# saw. The rule says how many of the lowest, k, may lie under T1. T1 is the next score. That is all; it needs no
# assumption about the form of the distribution.
#
# k is smaller than 10 % of n: the difference is the price of being 95 % sure. With few parts k is -1: no limit
# whatever supports the promise. And T1 is never set under 0.05: scores there are noise. Then the claim is the exact
# bound of what was missed.

# %% [markdown] tags=["ko"]
# ## 세어서 정하는 T1: 순서 통계량 규칙
#
# 신뢰수준 95 %로 미검 10 % 이하를 보증하려면 이렇게 합니다. 학습에 쓰지 않은 불량 n개의 점수를 줄 세웁니다. 가장 낮은
# 것부터 몇 개(k)까지 T1 아래에 두어도 되는지 규칙이 말해 줍니다. 그 다음 점수가 T1입니다. 이것이 전부이고, 분포의 모양에
# 대한 가정은 필요 없습니다.
#
# k는 n의 10 %보다 작습니다. 그 차이가 95 % 확신의 값입니다. 부품이 적으면 k는 -1입니다. 어떤 한계값으로도 보증할 수
# 없다는 뜻입니다. T1은 0.05보다 낮게 두지 않습니다. 그 아래 점수는 잡음이기 때문입니다. 그때 보증 한도는 실제로 놓친 개수의 정확한 상한입니다.

# %%
from inspection_training.statistics import allowed_misses

rows = [
    [n, *(allowed_misses(n, share) for share in (0.1, 0.05, 0.01))]
    for n in (20, 37, 59, 100, 300, 1000)
]
show_table([say("defective parts n", "불량 수 n"), "k, 10 %", "k, 5 %", "k, 1 %"], rows)

k = allowed_misses(len(bad), 0.1)
print(f"n = {len(bad)}, k = {k}, T1 = {bad[max(k, 0)]:.3f}")
figure = Figure(figsize=(9, 2.6))
axes = figure.subplots()
axes.step(range(1, len(bad) + 1), bad, where="mid", color="#8f2020")
axes.axhline(bad[max(k, 0)], color="black", linestyle="--")
axes.set(xlabel="defective test parts, sorted by score", ylabel="score")
show_figure(figure)

# %%
from inspection_training.claims import Targets
from inspection_training.recipe_limits import propose_limits

proposal = propose_limits(
    run, run.recipe, Targets(escape=0.1, overkill=0.1, review=0.1), pooled=True
)
print(*proposal.sentences(), *proposal.warnings, sep="\n")

# %% [markdown] tags=["en"]
# "No claim" is an answer, too: it says how many parts are missing, or that the model does not see these defects.
# In the second case more parts to count do not help; train with more such defects.
#
# ## The worst parts, as pictures
#
# A number tells that something is wrong, a picture tells what. Dashed green: what a person labelled. Solid red: what
# the model found. The report has a page of these.

# %% [markdown] tags=["ko"]
# "보증할 수 없음"도 답입니다. 몇 개가 모자란지, 아니면 모델이 이런 불량을 보지 못하는지 알려 줍니다. 두 번째라면 셀 부품을
# 늘려도 소용없습니다. 그런 불량을 더 넣어 학습하십시오.
#
# ## 가장 나쁜 부품을 눈으로
#
# 수치는 무언가 잘못되었다고 말하고, 그림은 무엇이 잘못되었는지 말합니다. 초록 점선은 사람이 붙인 라벨, 빨간 실선은 모델의
# 검출입니다. 보고서에 이런 그림이 한 쪽 들어 있습니다.

# %%
from inspection_training.report.page import write_report
from inspection_training.report.pictures import part_picture

wrong = [
    i
    for i, (sample, decision) in enumerate(zip(run.samples, made, strict=True))
    if decision is (Decision.PASS if sample.state == "labelled" else Decision.FAIL)
]
pictures = [
    f"<figure style='display:inline-block;margin:4px'><img width=220 src='{part_picture(run, i, run.recipe)}'>"
    f"<figcaption>{run.samples[i].image.split('/')[-1]} {made[i].value}</figcaption></figure>"
    for i in wrong[:8]
]
display(HTML("".join(pictures) or say("None.", "없습니다.")))
write_report(WORK / "report.html", run, LANGUAGE)
print((WORK / "report.html").stat().st_size, "bytes: report.html")

# %% [markdown] tags=["en"]
# ## Label suspects
#
# Some "false calls" are none: the label is wrong. Where the model is sure and contradicts a label, a person should
# look again. We hid two defects among the good parts; are they on the list?
#
# The list suspects, a person decides. And it shows little for parts that the model learned from: it learned their
# wrong labels too.

# %% [markdown] tags=["ko"]
# ## 라벨 의심
#
# 과검처럼 보이지만 과검이 아닌 것이 있습니다. 라벨이 틀린 것입니다. 모델이 확신하면서 라벨과 다르게 말하면 사람이 다시 봐야
# 합니다. 양품 사이에 불량 두 개를 숨겨 두었는데, 목록에 있습니까?
#
# 목록은 의심할 뿐이고 판단은 사람이 합니다. 모델이 학습한 부품에서는 별로 드러나지 않습니다. 틀린 라벨까지 배웠기
# 때문입니다.

# %%
from inspection_training.label_suspects.find import find_suspects
from inspection_training.label_suspects.text import reason

suspicions = find_suspects(network.release.folder, version, "test", limit=6)
for suspect in suspicions.suspects:
    hidden = (
        "  <-- " + say("hidden by us", "숨겨 둔 것")
        if Path(suspect.sample.image).stem in wrongly_good
        else ""
    )
    print(f"{suspect.quality:.2f}  {suspect.sample.image}: {reason(suspect, LANGUAGE)}{hidden}")

# %% [markdown] tags=["en"]
# ## Two releases on the same parts
#
# Is a new release better? Do not compare two intervals. Put both on the same parts and look only at parts that
# exactly one of them gets wrong: *exact McNemar*. If both are equally good, these parts fall to either side like
# a tossed coin. A small p says: this is no coin.
#
# As the second release we take a golden template: it learned nothing of defects, it compares with the mean of the
# good parts.

# %% [markdown] tags=["ko"]
# ## 같은 부품으로 두 릴리스 비교
#
# 새 릴리스가 더 나은가? 두 신뢰구간을 나란히 놓고 비교하지 마십시오. 둘 다 같은 부품에 돌리고, 둘 중 하나만 틀린 부품만
# 봅니다. *정확 McNemar 검정*입니다. 둘의 실력이 같다면 이 부품들은 동전 던지기처럼 양쪽으로 갈립니다. p가 작으면 동전
# 던지기가 아니라는 뜻입니다.
#
# 두 번째 릴리스로는 기준 이미지 비교(golden template)를 씁니다. 불량은 전혀 배우지 않고, 양품의 평균과 비교합니다.

# %%
from inspection_training.report.compare import compare_runs

golden = Experiment(family="template", imgsz=128, input_size=(96, 128), threads=1)
template = train_release(golden, version, part="plate", weights=None, **places)
comparison = compare_runs(run, inspect_split(template.release.folder, version, "test"))
show_table(
    [
        "",
        f"{comparison.first} {say('alone wrong', '만 틀림')}",
        f"{comparison.second} {say('alone wrong', '만 틀림')}",
        say("both", "둘 다"),
        "p",
    ],
    [
        [name, side.only_first, side.only_second, side.both, f"{side.p:.3g}"]
        for name, side in (
            (say("escape", "미검"), comparison.escape),
            (say("overkill", "과검"), comparison.overkill),
        )
    ],
)

# %% [markdown] tags=["en"]
# Look at both rows before you choose: a release can win on escapes and lose on overkill, since each has its own
# limits. And a large p does not say that they are equal; there may be too few parts to tell. Twelve parts that only
# one gets wrong, 2 against 10, give p = 0.039; 3 against 9 give 0.15.

# %% [markdown] tags=["ko"]
# 고르기 전에 두 줄을 다 보십시오. 릴리스마다 한계값이 달라서 미검은 이기고 과검은 질 수 있습니다. p가 크다고 둘이 같다는
# 뜻도 아닙니다. 부품이 적어 구별하지 못하는 것일 수 있습니다. 하나만 틀린 부품 12개가 2 대 10이면 p = 0.039, 3 대 9이면
# 0.15입니다.

# %%
from inspection_training.statistics import mcnemar_exact

print(
    f"2 : 10 -> p = {mcnemar_exact(2, 10):.4f}", f"3 : 9 -> p = {mcnemar_exact(3, 9):.4f}", sep="\n"
)

# %% [markdown] tags=["en"]
# ## What no report can promise
#
# - Kinds of defects that are not in the test parts: nothing is known of them.
# - Another light, camera, lens or process: test again.
# - Labels: where they are wrong, all numbers are wrong. Let two people label the same parts.
# - The next lot, when the defects come from a few lots only.
#
# On the command line:
#
#     inspection evaluate releases/plate/1 --data dataset --html report.html --language en
#     inspection suspects releases/plate/1 --data dataset --html suspects.html --language en
#     inspection evaluate releases/plate/2 --data dataset --against releases/plate/1
#
# Next: `03-good-parts-only.ipynb`.

# %% [markdown] tags=["ko"]
# ## 어떤 보고서도 보증할 수 없는 것
#
# - 시험 부품에 없는 종류의 불량: 아무것도 모릅니다.
# - 다른 조명, 카메라, 렌즈, 공정: 다시 시험해야 합니다.
# - 라벨: 라벨이 틀리면 모든 수치가 틀립니다. 두 사람이 같은 부품에 라벨을 붙여 보십시오.
# - 불량이 몇 개 로트에서만 나왔다면 그다음 로트.
#
# 명령줄에서는 이렇게 합니다.
#
#     inspection evaluate releases/plate/1 --data dataset --html report.html --language ko
#     inspection suspects releases/plate/1 --data dataset --html suspects.html --language ko
#     inspection evaluate releases/plate/2 --data dataset --against releases/plate/1
#
# 다음: `03-good-parts-only.ipynb`.
