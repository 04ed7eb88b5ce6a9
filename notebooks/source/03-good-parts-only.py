# %% [markdown] tags=["en"]
# # Good parts only
#
# The line is new, or it is good: there are thousands of good parts and hardly a defect. Two model families learn
# from good parts alone and say how *strange* a part is:
#
# - **good_parts** remembers what small patches of good parts look like (through a backbone network), and compares
#   every patch of a new part with them.
# - **template** compares with a golden image, pixel by pixel, where parts always lie in the same place.
#
# Both are quick to make. What they cannot do is as important as what they can: see the last section.

# %% [markdown] tags=["ko"]
# # 양품만으로 학습하기
#
# 라인이 새것이거나 공정이 좋으면, 양품은 수천 개인데 불량은 거의 없습니다. 두 모델 계열은 양품만으로 배우고 부품이 얼마나
# *낯선지* 말해 줍니다.
#
# - **good_parts**: 양품의 작은 조각들이 (백본 네트워크를 거쳐) 어떻게 보이는지 기억해 두고, 새 부품의 조각을 하나하나
#   비교합니다.
# - **template**: 부품이 늘 같은 자리에 놓일 때, 기준 이미지와 픽셀 단위로 비교합니다.
#
# 둘 다 금방 만들 수 있습니다. 할 수 있는 것만큼 할 수 없는 것도 중요합니다. 마지막 절을 꼭 보십시오.

# %% same="setup"

# %% same="camera"

# %% [markdown] tags=["en"]
# ## The parts
#
# Learning uses the good `train` parts only, the limits the good `val` parts only. The few labelled defects in
# `test` are the exam; the model never sees them before.

# %% [markdown] tags=["ko"]
# ## 부품
#
# 학습에는 `train`의 양품만, 한계값에는 `val`의 양품만 씁니다. `test`에 있는 라벨 붙은 불량은 시험 문제이고, 모델은 그전에
# 보지 못합니다.

# %%
from inspection_datasets.importing import ImportPlan, import_dataset

folder = labelled_folder(WORK / "from-labelling-tool", lots=14, parts=24, seed=5)
plan = ImportPlan(name="plate", val=0.4, test=0.3)
version, _ = import_dataset(folder, WORK / "dataset", plan)
show_table(
    [say("split", "분할"), say("good", "양품"), say("labelled defects", "라벨 있는 불량")],
    [[split, counts["good"], counts["labelled"]] for split, counts in version.counts().items()],
)

# %% [markdown] tags=["en"]
# ## A memory of good patches
#
# This family needs a *backbone*: a network that has learned elsewhere what pictures consist of. Nothing is
# downloaded for you. Bring a torchvision weight file of `mobilenet_v2`, `resnet18` or `resnet50`, look at its
# licence, and name it. Its hash goes into the release.
#
# So that this notebook runs everywhere we take a **random** backbone as a stand-in. It knows edges and brightness
# only by chance; expect a real one to do better, above all on fine texture.

# %% [markdown] tags=["ko"]
# ## 양품 조각의 기억
#
# 이 계열에는 *백본*이 필요합니다. 이미지가 무엇으로 이루어지는지 다른 곳에서 배워 온 네트워크입니다. 자동으로 내려받지
# 않습니다. torchvision의 `mobilenet_v2`, `resnet18`, `resnet50` 가중치 파일을 직접 준비하고, 라이선스를 확인하고, 파일을
# 지정하십시오. 파일의 해시가 릴리스에 남습니다.
#
# 이 노트북은 어디서나 돌아가도록 **무작위** 백본을 대신 씁니다. 가장자리나 밝기를 우연히 구별하는 정도입니다. 진짜 백본은
# 더 낫고, 고운 표면 무늬에서 특히 그렇습니다.

# %%
import torch
from torchvision import models

torch.manual_seed(0)
backbone = WORK / "resnet18-random.pth"
torch.save(models.resnet18(weights=None).state_dict(), backbone)

# %%
from inspection_training.experiment import Experiment
from inspection_training.run import train_release

settings = {"imgsz": 128, "input_size": (96, 128), "max_overkill": 0.05, "threads": 1}
places = {"releases": WORK / "releases", "runs": WORK / "runs"}
patches = Experiment(family="good_parts", bank=200, **settings)
memory = train_release(patches, version, part="plate", weights=backbone, **places)
print(memory.release.name, memory.card.base_weights)
print(memory.card.claim)

# %% [markdown] tags=["en"]
# Read the claim. There is a sentence about overkill, because good parts were counted. And there is one sentence
# that no setting takes away: **no escape claim is possible**, since no defective part took part in the choice.
#
# ## The golden template
#
# Here each part lies in the same place, so a golden image is worth a try. It needs no backbone. `shift` says how
# many pixels a good part may be moved.

# %% [markdown] tags=["ko"]
# 보증 한도 문장을 읽으십시오. 과검에 대한 문장은 있습니다. 양품을 세었기 때문입니다. 그리고 어떤 설정으로도 지울 수 없는 문장이
# 하나 있습니다. **미검에 대해서는 아무것도 보증할 수 없습니다.** 한계값을 정하는 데 불량이 하나도 쓰이지 않았기 때문입니다.
#
# ## 기준 이미지 비교
#
# 여기서는 부품이 늘 같은 자리에 놓이므로 기준 이미지도 해 볼 만합니다. 백본이 필요 없습니다. `shift`는 양품이 몇 픽셀까지
# 밀려도 되는지입니다.

# %%
golden = Experiment(family="template", shift=2, edge=1, **settings)
template = train_release(golden, version, part="plate", weights=None, **places)
print(template.release.name)
print(template.card.claim)

# %% [markdown] tags=["en"]
# ## Where a part is strange
#
# The release gives a score for the part, and a map: bright where it differs from what was learned. A score of 0.5 is
# as strange as the strangest good `val` part. Look at the maps before you trust a score: is it the defect that
# is strange, or the edge of the part?

# %% [markdown] tags=["ko"]
# ## 어디가 낯선가
#
# 릴리스는 부품의 점수와 지도를 줍니다. 배운 것과 다른 곳이 밝습니다. 점수 0.5는 `val`의 양품 중 가장 낯선 것만큼 낯설다는
# 뜻입니다. 점수를 믿기 전에 지도를 보십시오. 낯선 것이 불량입니까, 아니면 부품의 가장자리입니까?

# %%
from inspection.letterbox import letterbox
from inspection_datasets.incoming import read_image
from inspection_training.measure import open_runtime


def maps_of(release, image):
    runtime = open_runtime("onnxruntime", release)
    try:
        outputs = runtime.infer(letterbox(image, release.input_size)[0][None], 10.0)
    finally:
        runtime.close()
    return outputs["anomaly_map"][0], float(outputs["anomaly_score"][0])


test = version.select("test")
of_class = [next(s for s in test if s.boxes and s.boxes[0][0] == name) for name in CLASSES]
shown = [next(s for s in test if s.state == "good"), *of_class]
figure = Figure(figsize=(9, 7))
for sample, cells in zip(shown, figure.subplots(3, 3), strict=True):
    image = read_image(version.path(sample))
    cells[0].imshow(image)
    cells[0].set_title(sample.boxes[0][0] if sample.boxes else "good")
    for cell, outcome in zip(cells[1:], (memory, template), strict=True):
        heat, score = maps_of(outcome.release, image)
        cell.imshow(heat, vmin=0, vmax=0.8, cmap="inferno")
        cell.set_title(f"{outcome.card.family}: {score:.2f}")
for cell in figure.axes:
    cell.set_axis_off()
show_figure(figure)

# %% [markdown] tags=["en"]
# ## Score histograms
#
# Light: good test parts. Dark: defective ones. The lines are T1 and T2, set on other good parts. Dark bars left of T1
# are escapes: those defects look no stranger than a good part.
#
# **AUROC** is the chance that a defective part scores higher than a good one: 1 is perfect, 0.5 is a coin. It says
# how well the two can be told apart, and nothing about how many escape at your limits. Never sign for an AUROC.

# %% [markdown] tags=["ko"]
# ## 점수 분포
#
# 연한 막대는 시험용 양품, 진한 막대는 불량입니다. 선은 다른 양품으로 정한 T1과 T2입니다. T1 왼쪽의 진한 막대가 미검입니다.
# 그런 불량은 양품보다 낯설어 보이지 않습니다.
#
# **AUROC**는 불량 하나가 양품 하나보다 높은 점수를 받을 확률입니다. 1이면 완벽하고 0.5면 동전 던지기입니다. 둘을 얼마나 잘
# 구별하는지 말할 뿐, 내 한계값에서 몇 개가 유출되는지는 말하지 않습니다. AUROC를 보고 서명하지 마십시오.

# %%
from inspection_training.evaluation import inspect_split
from inspection_training.release import in_words

runs = [inspect_split(outcome.release.folder, version, "test") for outcome in (memory, template)]
figure = Figure(figsize=(9, 5))
for axes, run in zip(figure.subplots(2, 1), runs, strict=True):
    scores = {"good": [], "labelled": []}
    for sample, found in zip(run.samples, run.found, strict=True):
        scores[sample.state].append(found.anomaly_score)
    axes.hist(
        [scores["good"], scores["labelled"]],
        bins=np.linspace(0, 1, 41),
        color=["#7fb0d8", "#8f2020"],
        label=["good", "defective"],
    )
    limits = run.recipe.limits["anomaly"]
    axes.axvline(limits.t1, color="black", linestyle="--", label=f"T1 {limits.t1:.2f}")
    axes.axvline(limits.t2, color="black", linestyle=":", label=f"T2 {limits.t2:.2f}")
    axes.set_title(run.card.family)
    axes.legend()
figure.tight_layout()
show_figure(figure)

# %%
rows = []
for run in runs:
    metrics = run.metrics()
    rows.append(
        [
            run.card.family,
            metrics["auroc"],
            in_words(metrics["defective"]["escape"]),
            in_words(metrics["good"]["overkill"]),
        ]
    )
show_table(["", "AUROC", say("escape", "미검"), say("overkill", "과검")], rows)

# %% [markdown] tags=["en"]
# ## What happens when a part is not where it should be
#
# A golden template is as good as the fixture. The same good part, moved by more than `shift`, is strange everywhere.

# %% [markdown] tags=["ko"]
# ## 부품이 제자리에 없으면
#
# 기준 이미지 비교는 지그가 좋은 만큼만 좋습니다. 같은 양품이라도 `shift`보다 많이 밀리면 온통 낯설어집니다.

# %%
image = read_image(version.path(shown[0]))
rows = []
for pixels in (0, 1, 2, 4, 8):
    moved = np.ascontiguousarray(np.roll(image, pixels, axis=1))
    rows.append(
        [pixels, *(f"{maps_of(outcome.release, moved)[1]:.2f}" for outcome in (memory, template))]
    )
show_table([say("moved, pixels", "밀린 픽셀"), memory.card.family, template.card.family], rows)

# %% [markdown] tags=["en"]
# ## What you cannot claim
#
# Without defects, nobody knows how many escape; not this program, and not any other. "It found all five that we had"
# is not a rate: 0 of 5 supports 45 % at best.
#
# | you have | you may say |
# |---|---|
# | n good parts that were not learned | overkill: 59 show 5 %, 299 show 1 % (95 % confidence, none failing) |
# | no defective parts | nothing about escapes |
# | a few defective parts | the exact bound: 0 of 5 is 45 %, 0 of 37 is 7.8 % |
# | defects of one kind | nothing about other kinds |
#
# So keep every defect that turns up, with its lot. When some defective parts are there, `inspection limits` gives
# the claim that they support, for these kinds of defects. The labelled test parts play that role here.

# %% [markdown] tags=["ko"]
# ## 보증할 수 없는 것
#
# 불량이 없으면 몇 개가 유출되는지 아무도 모릅니다. 이 프로그램도, 다른 어떤 프로그램도 모릅니다. "가지고 있던 다섯 개를 다
# 찾았다"는 비율이 아닙니다. 5개 중 0개로 보증할 수 있는 것은 잘해야 45 %입니다.
#
# | 가진 것 | 말할 수 있는 것 |
# |---|---|
# | 학습에 쓰지 않은 양품 n개 | 과검: 59개면 5 %, 299개면 1 % (신뢰수준 95 %, 하나도 불합격이 없을 때) |
# | 불량 없음 | 미검에 대해서는 아무것도 |
# | 불량 몇 개 | 정확한 상한: 5개 중 0개면 45 %, 37개 중 0개면 7.8 % |
# | 한 종류의 불량 | 다른 종류에 대해서는 아무것도 |
#
# 그러니 나오는 불량은 로트와 함께 모두 보관하십시오. 불량이 어느 정도 모이면 `inspection limits`가 그 종류의 불량에 대해
# 근거가 되는 만큼의 보증 한도를 말해 줍니다. 여기서는 라벨 붙은 시험용 부품이 그 역할을 합니다.

# %%
from inspection_training.claims import Targets
from inspection_training.recipe_limits import propose_limits
from inspection_training.statistics import upper_bound

print(f"0 / 5 -> {100 * upper_bound(0, 5):.0f} %")
for run in runs:
    targets = Targets(escape=0.05, overkill=0.05, review=0.1)
    proposal = propose_limits(run, run.recipe, targets, pooled=False)
    print(f"--- {run.card.family}", *proposal.sentences(), *proposal.warnings, sep="\n")

# %% [markdown] tags=["en"]
# When about sixty defects of the kinds that matter are there, train a detector as well (`01-from-folder-to-release`)
# and compare both on the same parts (`02-reading-the-report`). On the command line:
#
#     inspection train --data dataset --family good_parts --weights resnet18.pth --imgsz 256 --part plate
#     inspection train --data dataset --family template --imgsz 256 --part plate

# %% [markdown] tags=["ko"]
# 중요한 종류의 불량이 60개쯤 모이면 검출 모델도 학습하고(`01-from-folder-to-release`) 같은 부품으로 비교하십시오
# (`02-reading-the-report`). 명령줄에서는 이렇게 합니다.
#
#     inspection train --data dataset --family good_parts --weights resnet18.pth --imgsz 256 --part plate
#     inspection train --data dataset --family template --imgsz 256 --part plate
