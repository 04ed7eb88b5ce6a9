"""The words of a quick start, Korean and English: why a setting was chosen, and what the data cannot give."""

from __future__ import annotations

from inspection.sentences.language import Table

WHY: dict[str, tuple[str, str]] = {
    "given": ("직접 지정한 값입니다.", "You asked for it."),
    "family_ultralytics": (
        "상자 라벨이 있는 학습 이미지가 {labelled}장이고 ultralytics가 설치되어 있습니다.",
        "{labelled} training pictures have labelled defects, and ultralytics is installed.",
    ),
    "family_torchvision": (
        "상자 라벨이 있는 학습 이미지가 {labelled}장이고 ultralytics가 설치되어 있지 않습니다.",
        "{labelled} training pictures have labelled defects, and ultralytics is not installed.",
    ),
    "family_of_weights": (
        "가중치 파일 {file}이(가) 이 계열의 것입니다 (라벨 있는 학습 이미지 {labelled}장).",
        "The weight file {file} is of this family ({labelled} training pictures have labelled defects).",
    ),
    "family_good_parts": (
        "라벨 있는 불량이 없고 양품이 {good}장입니다. 양품만 배우는 방법입니다.",
        "No defect is labelled and {good} pictures are good: it learns good parts only.",
    ),
    "family_template": (
        "라벨 있는 불량도 백본 가중치 파일도 없고, 양품 {good}장이 한자리에 놓여 있습니다 (상관 "
        "{alignment}).",
        "No defect is labelled, no backbone file is given, and the {good} good parts lie in one place "
        "(correlation {alignment}).",
    ),
    "model_of_weights": ("가중치 파일 {file} 안의 모델입니다.", "The network in the weight file {file}."),
    "model_small": (
        "가장 작은 모델입니다. 학습 이미지 {images}장에는 큰 모델이 필요 없고 검사도 가장 빠릅니다.",
        "The smallest network: {images} training pictures need no larger one, and it inspects fastest.",
    ),
    "model_torchvision": (
        "백본이 MobileNetV2인 검출기로, 가장 가벼운 편이며 라이선스가 자유롭습니다.",
        "A detector on MobileNetV2: among the lightest, with a permissive licence.",
    ),
    "size": (
        "이미지 긴 변 {longer}픽셀, 불량 짧은 변의 10 % 지점 {short}픽셀: 네트워크에서 {seen}픽셀로 "
        "보입니다 "
        "(32픽셀이면 충분하고 최소 {least}픽셀).",
        "Pictures are {longer} pixels long; one defect in ten is narrower than {short} pixels, which are "
        "{seen} in the network (32 are plenty, {least} the least).",
    ),
    "size_good": (
        "이미지 긴 변이 {longer}픽셀입니다 (224에서 640 사이로 정합니다).",
        "Pictures are {longer} pixels long (kept between 224 and 640).",
    ),
    "shape": (
        "이미지의 가로세로 비율 {aspect}을(를) 지키면 정사각형보다 계산이 {saved} % 적습니다.",
        "It keeps the pictures' aspect {aspect}: {saved} % less to compute than a square.",
    ),
    "tile": (
        "불량 짧은 변의 10 % 지점이 {longer}픽셀 이미지에서 {short}픽셀뿐이라 전체 이미지로는 네트워크 "
        "입력이 "
        "{needed}픽셀이어야 합니다. 타일로 나눕니다.",
        "One defect in ten is narrower than {short} of {longer} pixels: whole pictures would need a "
        "network "
        "input of {needed}. So the part is cut into tiles.",
    ),
    "tile_size": (
        "타일 {tile}픽셀을 이 크기로 보면 불량 짧은 변의 10 % 지점이 {seen}픽셀입니다.",
        "A tile of {tile} pixels seen at this size gives {seen} pixels to one defect in ten.",
    ),
    "tile_overlap": (
        "큰 불량 (99 % 지점 {large}픽셀)이 한 타일 안에 들어가야 합니다.",
        "A large defect (99th percentile {large} pixels) must fit into one tile.",
    ),
    "crop": (
        "무작위 가중치로 CPU에서 배우므로, 불량 주변 조각 (불량 99 % 지점 {large}픽셀의 두 배 이상)만 "
        "보면 같은 "
        "시간에 더 많이 봅니다.",
        "Random weights on a CPU: crops around defects (at least twice the 99th percentile, {large} "
        "network "
        "pixels) show more of them in the same time.",
    ),
    "augment_binary": (
        "확인한 이미지 {pictures}장 중 {binary}장이 흑백입니다. 밝기 변화는 뜻이 없고 90도 회전과 "
        "거울상이 맞습니다. "
        "방향이 정해진 부품이면 none으로 바꾸십시오.",
        "{binary} of {pictures} pictures looked at are black and white: light means nothing there, "
        "quarter "
        "turns and mirror images do. Set none where a part has one way up.",
    ),
    "augment_metal": (
        "확인한 이미지 {pictures}장 중 {binary}장만 흑백입니다. 빛, 노출, 흐림, 노이즈, 작은 자세 "
        "변화를 배웁니다.",
        "{binary} of {pictures} pictures looked at are black and white: light, exposure, blur, noise and "
        "small pose may change.",
    ),
    "augment_none": (
        "이 방법은 있는 그대로의 양품을 배웁니다.",
        "This method learns good parts as they are.",
    ),
    "flip": (
        "거울상 부품은 다른 부품입니다. 거울상도 같은 부품이면 0.5로 하십시오.",
        "A mirrored part is another part. Set 0.5 if yours is not.",
    ),
    "mosaic_on": (
        "학습 이미지가 {images}장뿐이고 불량이 작습니다 (이미지 짧은 변의 {large} %). 네 장을 이어 붙여 "
        "더 다양하게 봅니다.",
        "Only {images} training pictures and small defects ({large} % of the picture's shorter side): "
        "four "
        "put together show more.",
    ),
    "mosaic_large": (
        "불량이 커서 (이미지 짧은 변의 {large} %) 네 장을 이어 붙이면 잘립니다.",
        "Defects are large ({large} % of the picture's shorter side): putting four pictures together "
        "would "
        "cut them.",
    ),
    "mosaic_many": (
        "학습 이미지가 {images}장이면 그대로도 다양합니다.",
        "{images} training pictures are varied enough as they are.",
    ),
    "good_share": (
        "라벨 있는 이미지 {labelled}장과 양품 {good}장 중 {used}장을 씁니다. 양품을 보아야 과검이 "
        "줄어듭니다.",
        "{labelled} labelled pictures, and {used} of the {good} good ones: good parts lower the "
        "overkill.",
    ),
    "good_share_none": (
        "학습 분할에 양품이 없습니다.",
        "There is no good picture in the training split.",
    ),
    "batch": (
        "학습 이미지 {images}장이면 한 에폭에 {steps}단계입니다.",
        "{images} training pictures give {steps} steps in an epoch.",
    ),
    "epochs": (
        "이미지를 약 {seen}번 봅니다 ({images}장, 클래스 {classes}개, 클래스마다 2000번{times}).",
        "About {seen} pictures are seen: {images} of them, {classes} classes, 2000 for each "
        "class{times}.",
    ),
    "minutes": (
        "CPU {cores}코어에서 약 {estimate}분으로 추정됩니다 (표에 의한 추정, 두 배까지 다를 수 있음). "
        "이 시간을 넘으면 "
        "에폭을 줄입니다.",
        "About {estimate} minutes on {cores} processor cores (an estimate from a table, wrong by a "
        "factor of "
        "two at times); epochs are cut at this limit.",
    ),
    "minutes_unknown": (
        "CPU {cores}코어에서의 시간은 추정하지 못합니다. 이 시간을 넘으면 에폭을 줄입니다.",
        "Its time on {cores} processor cores is not known; epochs are cut at this limit.",
    ),
    "optimizer": (
        "{steps}단계의 짧은 학습에는 AdamW가 안정적입니다.",
        "AdamW is steady in a short training of {steps} steps.",
    ),
    "lr": ("AdamW의 보통 값입니다.", "AdamW's usual value."),
    "precision_bf16": (
        "bf16을 하드웨어로 계산하므로 auto는 bf16입니다.",
        "bf16 is computed in hardware here, so auto means bf16.",
    ),
    "precision_f32": (
        "이 CPU에는 bf16이 없으므로 auto는 f32입니다.",
        "This processor has no bf16, so auto means f32.",
    ),
    "device_cpu": ("GPU가 보이지 않습니다.", "No GPU is seen."),
    "device_gpu": ("GPU가 {gpus}개 보입니다.", "{gpus} GPUs are seen."),
    "max_overkill": (
        "검증 분할의 양품 {good}장 중 {parts}장까지입니다.",
        "At most {parts} of the {good} good val parts.",
    ),
    "max_overkill_few": (
        "검증 분할의 양품이 {good}장뿐이라 기본값을 둡니다.",
        "The default: there are only {good} good val parts.",
    ),
}  # fmt: skip

RANDOM: Table = {
    "random": (
        "무작위 가중치에서 시작합니다. 이 네트워크는 아직 아무 이미지도 본 적이 없습니다",
        "weights are random: this network has never seen an image before",
    )
}

NOTES: dict[str, tuple[str, str]] = {
    "random": (
        "가중치 파일이 없어 무작위 가중치에서 시작합니다. 그러려면 라벨 있는 이미지가 약 {wanted}장 "
        "필요한데 {labelled}장이 "
        "있습니다: {missing}장을 더 모으거나 --weights로 가중치 파일을 지정하십시오.",
        "No weight file: training starts from random weights. That needs about {wanted} labelled "
        "pictures, "
        "here are {labelled}: collect {missing} more, or name a file with --weights.",
    ),
    "random_enough": (
        "가중치 파일이 없어 무작위 가중치에서 시작합니다. --weights로 파일을 지정하면 더 빨리 더 잘 "
        "배웁니다.",
        "No weight file: training starts from random weights. With a file (--weights) it learns faster "
        "and "
        "better.",
    ),
    "backbone_missing": (
        "양품만 배우려면 백본 가중치 파일이 필요합니다: --weights FILE.pth (mobilenet_v2, resnet18 또는 "
        "resnet50).",
        "Learning good parts needs a backbone: --weights FILE.pth (mobilenet_v2, resnet18 or resnet50).",
    ),
    "backbone_input": (
        "{file}의 가중치가 TensorFlow에서 온 것이면 backbone_input: tensorflow로 바꾸십시오. 파일에는 "
        "적혀 있지 않습니다.",
        "If the weights of {file} came from TensorFlow, set backbone_input: tensorflow; the file does "
        "not "
        "say.",
    ),
    "weights_unused": (
        "가중치 파일 {file}은(는) 계열 {family}에 쓸 수 없습니다. 다른 파일을 지정하십시오.",
        "The weight file {file} does not fit family {family}; name another.",
    ),
    "no_val": (
        "검증(val) 분할에 이미지가 없어 한계값을 정할 수 없습니다: inspection dataset split.",
        "The val split is empty, so no limits can be chosen: inspection dataset split.",
    ),
    "few_good_val": (
        "검증 분할의 양품이 {good}개입니다. 과검 5 %를 95 % 신뢰로 보이려면 59개가 필요합니다: "
        "{missing}개 더.",
        "The val split has {good} good parts; 59 are needed to show 5 % overkill with 95 % confidence: "
        "{missing} more.",
    ),
    "no_test": (
        "시험(test) 분할에 불량이 없어 미검률에 대해 아무것도 보증할 수 없습니다. 1 %를 보증하려면 불량 "
        "299개가 필요합니다.",
        "The test split has no defective part, so nothing can be claimed about escapes; a claim of 1 % "
        "needs "
        "299.",
    ),
    "claim": (
        "시험 분할의 불량 {parts}개로는 모두 찾아도 미검 {bound} % 이하까지만 보증할 수 있습니다 (95 "
        "%). 1 %까지 {missing}개 더 "
        "필요합니다.",
        "{parts} defective parts in the test split support at best {bound} % escape at 95 %, if none is "
        "missed; for 1 %, {missing} more are needed.",
    ),
    "no_escape_claim": (
        "양품만 배운 모델로는 미검률을 보증할 수 없습니다. 불량을 모으십시오.",
        "A model of good parts supports no claim about escapes: collect defects.",
    ),
    "few_boxes": (
        "학습 분할에 예가 적은 클래스: {classes}. 클래스마다 50개 이상이 좋습니다.",
        "Classes with few examples in the training split: {classes}. 50 of each are a good start.",
    ),
    "no_good": (
        "양품 이미지가 하나도 없습니다. 과검을 알 수 없습니다. 부품에 꼭 있어야 하는 것 (예: 나사 "
        "4개)이 라벨되어 있으면 "
        "expected: {{{name}: 개수}}를 정하십시오.",
        "No picture is good, so nothing is known of overkill. If a labelled thing must be there (four "
        "screws), set expected: {{{name}: COUNT}}.",
    ),
    "outlines": (
        "외곽선이 있는 라벨이 {outlines}개 있지만 상자만 배웁니다. 외곽선까지 배우려면 -seg 모델을 "
        "지정하십시오.",
        "{outlines} labels have outlines; only boxes are learned. Name a -seg network to learn outlines.",
    ),
    "unlabelled": (
        "아무도 보지 않은 학습 이미지 {count}장은 쓰지 않습니다.",
        "{count} training pictures that nobody labelled are left out.",
    ),
    "aligned": (
        "양품이 한자리에 놓여 있습니다 (상관 {alignment}). --family template도 해 볼 만합니다.",
        "Good parts lie in one place (correlation {alignment}): --family template is worth a try.",
    ),
}  # fmt: skip

TIMES: dict[int, tuple[str, str]] = {
    1: ("", ""),
    3: (", 무작위 가중치라서 세 배", ", three times that from random weights"),
}
