# %% [markdown] tags=["en"]
# # From a folder of pictures to a release
#
# A labelling tool left a folder. At the end of this notebook there is a *release*: a model that a line can run,
# with its limits, and with a card that says what was measured and what nobody may promise.
#
# Nothing is downloaded and nothing is sent. All files go to a temporary folder.
# The model here is tiny and learns for half a minute, so that you can run everything at once. A real training
# takes an hour or a night; every other step is the same.

# %% [markdown] tags=["ko"]
# # 이미지 폴더에서 릴리스까지
#
# 라벨링 도구가 남긴 폴더 하나에서 시작합니다. 이 노트북이 끝나면 *릴리스*가 하나 생깁니다. 라인이 그대로 실행할 수
# 있는 모델이고, 한계값이 들어 있으며, 무엇을 측정했고 무엇은 보증할 수 없는지 적힌 카드가 붙어 있습니다.
#
# 내려받는 것도, 밖으로 보내는 것도 없습니다. 파일은 모두 임시 폴더에 만들어집니다.
# 한 번에 끝까지 실행해 볼 수 있도록 아주 작은 모델을 30초쯤만 학습합니다. 실제 학습은 한 시간에서 하룻밤이 걸리지만,
# 나머지 단계는 똑같습니다.

# %% same="setup"

# %% [markdown] tags=["en"]
# ## 1. The folder
#
# For your own part, set `folder` to what your tool wrote: YOLO, COCO, Pascal VOC, LabelMe, CVAT, Label Studio,
# class masks, a folder per class, a list. The layout is recognised.
#
# Here a make-believe camera draws plates with two holes. Some have a *scratch* (bright line) or a *dent* (dark
# spot); some of these are faint. The names begin with the lot: `LOT07_012.png`.

# %% [markdown] tags=["ko"]
# ## 1. 폴더
#
# 내 부품으로 해 보려면 `folder`를 라벨링 도구가 만든 폴더로 바꾸면 됩니다. YOLO, COCO, Pascal VOC, LabelMe, CVAT,
# Label Studio, 클래스 마스크, 클래스별 폴더, 목록 파일을 알아서 알아봅니다.
#
# 여기서는 가상의 카메라가 구멍이 두 개 있는 판을 그립니다. 일부에는 *scratch*(긁힘, 밝은 선)나 *dent*(찍힘, 어두운
# 점)가 있고, 그중에는 아주 흐린 것도 있습니다. 파일 이름은 로트로 시작합니다: `LOT07_012.png`.

# %% same="camera"

# %%
folder = labelled_folder(WORK / "from-labelling-tool", lots=16, parts=24, seed=7)
sorted(path.name for path in (folder / "images").iterdir())[:3]

# %% [markdown] tags=["en"]
# ## 2. Import
#
# The import copies the pictures and writes `v0001.jsonl`: one line for each picture, with its hash. This *dataset
# version* never changes again, and its hash will stand in the release.
#
# Two things to watch:
#
# - **Labelled, good, unlabelled are three states.** An empty label file says: a person looked, and the part is
#   good. No label file says: nobody looked. Such a picture is neither learned as good nor counted as good.
# - **Groups.** Pictures of one part are alike: views of it, or the part fed once more. If one of them is learned and
#   the next is the exam, the exam is too easy. So a whole group goes to one side, and every claim counts it as one
#   part. Here each part has one picture, which is what the import takes for a group. For your own pictures, `group`
#   says how to read serial or part from the name. Where parts of one lot are alike, too (same material, tool,
#   light), name the lot: claims then count lots.

# %% [markdown] tags=["ko"]
# ## 2. 가져오기
#
# 가져오기는 이미지를 복사하고 `v0001.jsonl`을 씁니다. 이미지마다 한 줄씩, 해시와 함께 적힙니다. 이 *데이터셋 버전*은
# 다시는 바뀌지 않고, 그 해시가 릴리스에 남습니다.
#
# 두 가지를 꼭 보십시오.
#
# - **라벨 있음, 양품, 라벨 없음은 서로 다릅니다.** 라벨 파일이 비어 있으면 사람이 보고 양품이라고 한 것입니다. 라벨
#   파일이 아예 없으면 아무도 보지 않은 것입니다. 그런 이미지는 양품으로 학습하지도, 양품으로 세지도 않습니다.
# - **그룹.** 한 부품의 이미지는 서로 닮았습니다. 여러 방향에서 찍은 것이든, 다시 투입해 찍은 것이든 그렇습니다. 그중
#   하나로 배우고 다음 것으로 시험을 보면 시험이 너무 쉬워집니다. 그래서 그룹은 통째로 한쪽에만 들어가고, 보증할 때는
#   한 부품으로 한 번만 셉니다. 여기서는 부품마다 이미지가 한 장이고, 가져오기는 그 한 장을 그룹으로 봅니다. 내
#   이미지라면 `group`으로 이름에서 시리얼이나 부품을 읽습니다. 같은 로트의 부품끼리도 닮았다면(소재, 공구, 조명)
#   로트를 그룹으로 하십시오. 그때는 로트를 셉니다.

# %%
from inspection_datasets.importing import ImportPlan, import_dataset

version, incoming = import_dataset(
    folder, WORK / "dataset", ImportPlan(name="plate", val=0.25, test=0.35)
)
print(*incoming.notes, sep="\n")
print(version.name, version.version, version.sha256[:12])

# %%
from inspection_datasets.manifest import SPLITS


def groups_of(split):
    return len({sample.group for sample in version.samples if sample.split == split})


rows = [[split, *version.counts()[split].values(), groups_of(split)] for split in SPLITS]
show_table([say("split", "분할"), *version.counts()["train"], say("groups", "그룹")], rows)

# %% [markdown] tags=["en"]
# The model learns from `train`. Its first limits are chosen on `val`. `test` is the exam: nothing is chosen there
# before the limits with a claim, at the very end. No group stands in two rows.

# %% [markdown] tags=["ko"]
# 모델은 `train`에서 배웁니다. 첫 한계값은 `val`에서 정합니다. `test`는 시험입니다. 맨 마지막에 보증 한도가 붙은 한계값을
# 정할 때까지 여기서는 아무것도 고르지 않습니다. 두 줄에 걸친 그룹은 없습니다.

# %%
from inspection_datasets.sheet import choose, write_sheet

write_sheet(version, choose(version, 10), WORK / "sheet.png", side=150)
Image(filename=WORK / "sheet.png")

# %% [markdown] tags=["en"]
# ## 3. Check the dataset
#
# The check looks for what makes training, or its numbers, wrong: copies of one picture in two splits, boxes outside
# the picture, a label for a picture of another size, classes with too few examples. We also tell it what we want
# to promise: at most 1 % escape (defective parts that pass), at most 5 % overkill (good parts that fail).

# %% [markdown] tags=["ko"]
# ## 3. 데이터셋 점검
#
# 점검은 학습이나 수치를 망치는 것을 찾습니다. 두 분할에 들어간 같은 이미지, 이미지 밖으로 나간 상자, 크기가 다른
# 이미지의 라벨, 예가 너무 적은 클래스 같은 것입니다. 무엇을 보증하고 싶은지도 알려 줍니다. 미검(불량인데 합격, 유출)
# 1 % 이하, 과검(양품인데 불합격) 5 % 이하입니다.

# %%
from inspection_datasets.check import check_dataset
from inspection_datasets.claims import Claim

for finding in check_dataset(version, Claim(max_escape=0.01, max_overkill=0.05)):
    print(f"{finding.severity}: {finding.text(LANGUAGE)}")

# %% [markdown] tags=["en"]
# Read these warnings before you train. They do not say that the model is bad. They say that even a perfect model
# could not prove 1 % with so few defective parts. The rule is short: to show at most 1 % escape with 95 % confidence
# you need **299** defective parts that training never saw, and not one of them missed.

# %% [markdown] tags=["ko"]
# 학습하기 전에 이 경고부터 읽으십시오. 모델이 나쁘다는 말이 아닙니다. 불량이 이만큼뿐이면 완벽한 모델이라도 1 %를
# 증명할 수 없다는 말입니다. 규칙은 간단합니다. 신뢰수준 95 %로 미검 1 % 이하를 보이려면 학습에 쓰지 않은 불량이
# **299개** 있어야 하고, 하나도 놓치지 않아야 합니다.

# %%
from inspection_training.statistics import best_claim, parts_needed

rows = [[f"{100 * share:g} %", parts_needed(share)] for share in (0.1, 0.05, 0.02, 0.01, 0.001)]
show_table(
    [
        say("escape to promise (95 %)", "보증할 미검률 (95 %)"),
        say("defective parts", "필요한 불량 수"),
    ],
    rows,
)
print(f"37 -> {100 * best_claim(37):.1f} %")

# %% [markdown] tags=["en"]
# The last line is the same rule the other way round: 37 defective parts without a miss support 7.8 %, no less.
# "0 of 37 escaped" is not "no escapes".

# %% [markdown] tags=["ko"]
# 마지막 줄은 같은 규칙을 거꾸로 읽은 것입니다. 불량 37개를 하나도 놓치지 않아도 보증할 수 있는 것은 7.8 %까지입니다.
# "37개 중 유출 0개"는 "유출 없음"이 아닙니다.

# %% [markdown] tags=["en"]
# ## 4. Quick start: settings with reasons
#
# You need not know the settings. `inspection train --quick DATASET` chooses them from the pictures and says why.
# This is what it would do here. Lines with `!` say what the data cannot give.

# %% [markdown] tags=["ko"]
# ## 4. 빠른 시작: 이유가 붙은 설정
#
# 설정을 몰라도 됩니다. `inspection train --quick DATASET`이 이미지를 보고 설정을 고르고 이유를 말해 줍니다. 여기서는
# 이렇게 고릅니다. `!`로 시작하는 줄은 이 데이터로는 안 되는 것입니다.

# %%
from inspection_training.train_plan import start_quickly

print(start_quickly(version, None, {}).in_words(LANGUAGE))

# %% [markdown] tags=["en"]
# ## 5. Our settings, and what the model will see
#
# For this notebook we take a tiny network and few passes. `gates` are what the candidate must reach before it
# becomes a release. We ask for 1 % escape, and shall see that it is refused.

# %% [markdown] tags=["ko"]
# ## 5. 설정과, 모델이 보게 될 이미지
#
# 이 노트북에서는 아주 작은 네트워크를 몇 번만 학습합니다. `gates`는 후보가 릴리스가 되기 전에 통과해야 하는
# 합격 기준입니다. 미검 1 %를 요구해 봅니다. 거절되는 것을 곧 보게 됩니다.

# %%
from inspection_training.experiment import Experiment, Gates

experiment = Experiment(
    family="ultralytics",
    model="yolov8n",
    width=0.125,  # an eighth of the channels: quick, and enough for this part
    imgsz=128,
    input_size=(96, 128),  # height, width
    epochs=18,
    batch=8,
    optimizer="AdamW",
    lr=0.01,
    warmup_epochs=1,
    augment=("light",),
    good_share=0.5,
    precision="f32",
    threads=1,
    validations=0,
    nms_iou=0.5,
    gates=Gates(max_escape=0.01, max_overkill=0.15),
)

# %%
from inspection_training.preview import samples_as_seen, write_preview

# For this sheet alone: light and pose are varied as in a real training.
varied = experiment.model_copy(update={"augment": "metal"})
seen = samples_as_seen(varied, version, count=3, views=3)
write_preview(WORK / "preview.png", varied, version, seen, "en")
Image(filename=WORK / "preview.png", width=700)

# %% [markdown] tags=["en"]
# Left: a training picture as it is. Right: the same picture as training sees it, each time a little different in
# light, blur and pose. Look at it before you spend a night: is a good part still good in these pictures? Is the
# defect still to be seen, and its box in the right place? In your own trainings this step costs seconds:
# `inspection train --quick DATASET --preview sheet.html --dry-run`.

# %% [markdown] tags=["ko"]
# 왼쪽은 학습 이미지 그대로이고, 오른쪽은 학습이 보게 될 모습입니다. 볼 때마다 밝기, 흐림, 자세가 조금씩 다릅니다. 밤새
# 학습하기 전에 먼저 보십시오. 양품이 이 이미지에서도 여전히 양품입니까? 불량이 아직 보이고 상자가 제자리에 있습니까?
# 실제로는 몇 초면 됩니다: `inspection train --quick DATASET --preview sheet.html --dry-run`.

# %% [markdown] tags=["en"]
# ## 6. Train, and be refused
#
# One call does it all: check the dataset, train, export, compare the export with what was trained (*parity*),
# measure, choose first limits on `val`, and ask the gates.

# %% [markdown] tags=["ko"]
# ## 6. 학습, 그리고 거절
#
# 한 번에 다 합니다. 데이터셋을 점검하고, 학습하고, 내보내고, 내보낸 것이 학습한 것과 같은지 비교하고(*일치 검증*),
# 측정하고, `val`에서 첫 한계값을 정하고, 합격 기준을 확인합니다.

# %%
from inspection_training.gates import RefusedError
from inspection_training.run import train_release

refused = None
try:
    train_release(
        experiment,
        version,
        part="plate",
        weights=None,  # random; for your own part name a weight file, it needs far fewer pictures
        releases=WORK / "releases",
        runs=WORK / "runs",
    )
except RefusedError as error:
    refused = error
    print(error)

# %% [markdown] tags=["en"]
# Nothing was released. The message names the gate, what was found, and what to do. The trained candidate is kept,
# so no training time is lost.
#
# Note what is *not* said: that 1 % was measured and missed. Perhaps the model is good enough; these parts cannot
# show it. The honest ways on are to collect more defective parts, or to ask for less, and then somebody must stand
# for it by name. The name goes into the card.

# %% [markdown] tags=["ko"]
# 아무것도 릴리스되지 않았습니다. 어느 합격 기준에서 걸렸고, 무엇이 나왔고, 무엇을 해야 하는지 알려 줍니다. 학습한 후보는
# 남아 있으므로 학습 시간은 버려지지 않습니다.
#
# 1 %를 재 봤더니 넘었다는 말은 *아닙니다*. 모델은 충분히 좋을 수도 있습니다. 이 부품들로는 보일 수 없을 뿐입니다.
# 떳떳한 길은 둘입니다. 불량을 더 모으거나, 요구를 낮추는 것입니다. 낮출 때는 누군가 자기 이름으로 책임져야 하고, 그
# 이름이 카드에 남습니다.

# %%
from inspection_training.candidate import Override, make_release

run_folder = refused.candidate.parents[2]
release = make_release(run_folder, override=Override({"max_escape": 0.1}, by="Q. Kim"))
print(release.name, release.folder.relative_to(WORK))

# %% [markdown] tags=["en"]
# ## 7. Limits with a claim
#
# Every detection has a score from 0 to 1. A part whose highest score lies under **T1** passes, from **T2** on it
# fails, and between them a person looks (REVIEW).
#
# T1 now comes from the defective `test` parts, by counting: sort their scores; so many of the lowest may lie under
# T1 as the wanted escape rate allows. No assumption about the scores is needed. The program refuses parts that
# training saw.

# %% [markdown] tags=["ko"]
# ## 7. 보증 한도가 붙은 한계값
#
# 검출마다 0에서 1 사이의 점수가 있습니다. 가장 높은 점수가 **T1**보다 낮은 부품은 합격, **T2** 이상이면 불합격, 그
# 사이는 사람이 봅니다(재검).
#
# 이제 T1을 `test`의 불량에서 정합니다. 방법은 세는 것뿐입니다. 점수를 줄 세우고, 원하는 미검률이 허락하는 개수만큼만
# T1 아래에 둡니다. 점수 분포에 대한 가정은 필요 없습니다. 학습에 쓴 부품이면 프로그램이 거절합니다.

# %%
from inspection.recipe import RecipeConfig
from inspection_training.claims import Targets
from inspection_training.evaluation import inspect_split, refuse_known_pictures
from inspection_training.recipe_files import write_limits
from inspection_training.recipe_limits import propose_limits

run = inspect_split(release.folder, version, "test")
refuse_known_pictures(run)
for escape in (0.01, 0.1):
    targets = Targets(escape=escape, overkill=0.1, review=0.1)
    proposal = propose_limits(run, run.recipe, targets, pooled=False)
    print(f"--- {100 * escape:g} %")
    print(*proposal.sentences(), sep="\n")
print(*proposal.warnings, sep="\n")

# %% [markdown] tags=["en"]
# The first answer says plainly *no claim*, and how many parts are missing. The second is a claim you can sign for
# each class, with the number of parts it rests on. Read the warnings too: defects from few groups speak for these
# groups only.
#
# The limits are written as a recipe file, and the claim beside it with the hashes of everything it rests on. The
# release itself is never changed.

# %% [markdown] tags=["ko"]
# 첫 번째 답은 *보증할 수 없다*고 분명히 말하고, 몇 개가 모자란지 알려 줍니다. 두 번째는 클래스마다 서명할 수 있는
# 보증 한도이고, 근거가 된 부품 수가 함께 있습니다. 경고도 읽으십시오. 몇 안 되는 그룹의 불량은 그 그룹에 대해서만 말합니다.
#
# 한계값은 레시피 파일로 쓰고, 보증 한도는 근거가 된 모든 것의 해시와 함께 그 옆에 씁니다. 릴리스 자체는 절대 바뀌지
# 않습니다.

# %%
recipe = RecipeConfig(number=1, part=run.release.part, release=run.release.number)
claim = write_limits(WORK / "recipes" / "1.yaml", proposal, run, recipe)
print((WORK / "recipes" / "1.yaml").read_text())
print(claim.name, claim.stat().st_size, "bytes")

# %% [markdown] tags=["en"]
# ## 8. The release
#
# The card is what a quality engineer signs. It names the dataset version, the numbers with their intervals, the
# gates and who changed one of them, parity, and the time on this machine.

# %% [markdown] tags=["ko"]
# ## 8. 릴리스
#
# 카드는 품질 담당자가 서명하는 문서입니다. 데이터셋 버전, 신뢰구간이 붙은 수치, 합격 기준과 그것을 바꾼 사람, 일치 검증,
# 이 PC에서 걸린 시간이 적혀 있습니다.

# %%
from inspection.release import current_number, list_releases

print(list_releases(WORK / "releases"), current_number(WORK / "releases", "plate"))
Markdown((release.folder / "card.md").read_text())

# %% [markdown] tags=["en"]
# ## The same on the command line
#
#     inspection dataset import FOLDER --to dataset --name plate --val 0.25 --test 0.35
#     inspection dataset check dataset --max-escape 1% --html check.html
#     inspection train --quick dataset --preview sheet.html --dry-run
#     inspection train --quick dataset
#     inspection limits releases/plate/1 --data dataset --max-escape 5% --write recipes/1.yaml
#     inspection release list releases
#
# Next: `02-reading-the-report.ipynb`.

# %% [markdown] tags=["ko"]
# ## 명령줄에서 같은 일을 하려면
#
#     inspection dataset import FOLDER --to dataset --name plate --val 0.25 --test 0.35
#     inspection dataset check dataset --max-escape 1% --html check.html --language ko
#     inspection train --quick dataset --preview sheet.html --dry-run
#     inspection train --quick dataset
#     inspection limits releases/plate/1 --data dataset --max-escape 5% --write recipes/1.yaml
#     inspection release list releases
#
# 다음: `02-reading-the-report.ipynb`.
