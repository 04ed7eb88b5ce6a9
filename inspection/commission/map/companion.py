"""READ_ME.txt of the folder: what to do with each file, and what about it was not verified."""

from __future__ import annotations

from inspection.commission.map.words import Meaning

COMPANION: dict[str, Meaning] = {
    "general": (
        "이 폴더는 `inspection plc map`이 만들었습니다. 실제 PLC나 제조사 프로그램에서는 "
        "아무것도 시험하지 않았습니다.\n"
        "프로그램은 시험에서 해석기로 한 스캔씩 실행했습니다. 해석기는 PLC가 아닙니다.\n"
        "입력(IN_...)은 설비에서 연결하고, 출력(OUT_PASS)은 켜져야 통과하도록 배선하십시오.\n"
        "CTRL은 PLC 프로그램만, STAT은 스테이션만 씁니다. 가져온 뒤 `inspection plc probe "
        "STATION.yaml`로 확인하십시오.\n",
        "Made by `inspection plc map`. Nothing here was tried in a real PLC or in the maker's "
        "tool.\n"
        "The program was run scan by scan by an interpreter in our tests. An interpreter is no "
        "PLC.\n"
        "Wire the inputs (IN_...) to your machine, and OUT_PASS so that only energising it "
        "lets a part through.\n"
        "Only the PLC's program writes CTRL, only the station writes STAT. Then: `inspection "
        "plc probe STATION.yaml`.\n",
    ),
    "melsec": (
        "gxworks3_global_labels.csv: 전역 라벨, gxworks3_local_labels.csv: 프로그램의 로컬 라벨,\n"
        "gxworks3_device_comments.csv: 디바이스 코멘트, gxworks2_*.csv: GX Works2용. "
        "inspection.st: ST 프로그램 본문에 붙여 넣기.\n"
        "형식: UTF-16(BOM), 탭 구분, 첫 줄은 프로젝트 이름, 둘째 줄은 열 제목. 열은 내보낸 "
        "파일을 읽고 쓰는 공개된 여러\n"
        "프로그램에서 일치합니다. 제조사 설명서로 확인하지 않았습니다. 가져오지 못하면 빈 표를 "
        "내보내 첫 두 줄을 비교하십시오.\n"
        "워드 비트 라벨(D100.1)과 부호 없는 워드의 CASE, UINT# 상수는 확인하지 않았습니다. "
        "IN_/OUT_ 라벨은 디바이스 없이 만듭니다.\n"
        "FX3/Q/L을 GX Works2 단순 프로젝트로 쓰면 ST는 구조화 프로젝트가 필요합니다.\n",
        "gxworks3_global_labels.csv: global labels; gxworks3_local_labels.csv: local labels of "
        "the program;\n"
        "gxworks3_device_comments.csv: device comments; gxworks2_*.csv: for GX Works2. "
        "inspection.st: the body of an ST program.\n"
        "Layout: UTF-16 with BOM, tabs, first line the project, second line the columns. "
        "Several public programs that read or\n"
        "write such exports agree on it; it was not checked with the maker's manual. If an "
        "import is refused, export an empty\n"
        "table and compare the first two lines. Not checked: labels on bits of words (D100.1), "
        "CASE over an unsigned word,\n"
        "UINT# constants. IN_/OUT_ labels get no device here. In GX Works2 the program needs a "
        "structured project.\n",
    ),
    "xgt": (
        "xg5000_variables.csv: 변수 (CP949, 쉼표). inspection.st: ST 프로그램 본문에 붙여 넣기.\n"
        "CSV 열(변수, 타입, 디바이스, 사용 유무, HMI, 설명문)은 확인되지 않았습니다: 공개된 예 "
        "하나에서 보았을 뿐입니다.\n"
        "가져오지 못하면 파일을 열어 XG5000의 변수/설명 표에 복사해 붙이십시오. v_ 변수는 로컬 "
        "변수로 옮겨도 됩니다.\n"
        "비트 변수의 %MX 번호는 16 x 워드 번호 + 비트입니다. 프로그램은 IEC CPU(XGI, "
        "XGR)용입니다: 타이머는 IEC TON입니다.\n"
        "XGK(--device D)에서는 t_ 타이머를 T 디바이스로 바꿔야 하고, ST를 쓸 수 있는지 "
        "XG5000에서 확인하십시오.\n",
        "xg5000_variables.csv: variables (CP949, commas). inspection.st: the body of an ST "
        "program.\n"
        "The columns (variable, type, device, used, HMI, comment, in Korean) are NOT verified: they "
        "were seen in one public example.\n"
        "If the import is refused, open the file and paste its columns into the variable table "
        "of XG5000. Variables\n"
        "that begin with v_ may be local. The %MX number of a bit is 16 x word + bit. The "
        "program is for IEC CPUs (XGI,\n"
        "XGR): its timers are the IEC TON. On an XGK (--device D) the t_ timers become T "
        "devices, and whether it takes\n"
        "ST at all is for your XG5000 to say.\n",
    ),
    "s7": (
        "inspection-data.db: 데이터 블록 외부 소스, inspection.scl: 함수 블록 외부 소스 (UTF-8 "
        "BOM). TIA Portal의 외부 소스에\n"
        "추가하고 먼저 .db에서, 다음 .scl에서 블록을 생성하십시오. 블록 INSPECTION_DATA의 "
        "번호를 수동으로 {db}로 바꾸십시오:\n"
        "소스는 번호를 정하지 않습니다. 블록은 최적화되지 않은 접근이어야 합니다. CPU에서 "
        "PUT/GET 통신을 허용하십시오.\n"
        '그다음 OB1에서 "INSPECTION"을 한 번 호출하십시오. S7-1200/1500용입니다(TON_TIME). '
        "S7-300/400은 타이머를 바꿔야 합니다.\n"
        "상위 바이트가 먼저이므로 DBW의 비트 0은 다음 바이트의 비트 0입니다(DBW0 비트 1 = "
        "DBX1.1).\n",
        "inspection-data.db: external source of the data block; inspection.scl: of the "
        "function block (UTF-8 with BOM). Add both\n"
        "to the external sources of TIA Portal; generate blocks from the .db first, then from "
        "the .scl. Set the number of the block\n"
        "INSPECTION_DATA to {db} by hand: a source does not set it. Its access must not be "
        "optimized. Permit PUT/GET in the CPU.\n"
        'Then call "INSPECTION" once in OB1. Made for S7-1200 and S7-1500 (TON_TIME); S7-300 '
        "and 400 need other timers.\n"
        "The upper byte comes first: bit 0 of a DBW is bit 0 of its second byte (bit 1 of DBW0 "
        "is DBX1.1).\n",
    ),
    "modbus": (
        "registers.csv: 보유 레지스터 목록 (UTF-8 BOM). inspection.st: 일반 IEC 61131-3 프로그램.\n"
        "%MW 주소는 레지스터가 %MW에 놓이는 PLC의 예입니다. 다른 PLC에서는 AT 주소를 바꾸십시오.\n",
        "registers.csv: the holding registers (UTF-8 with BOM). inspection.st: a program in "
        "plain IEC 61131-3.\n"
        "Its %MW addresses are for PLCs whose holding registers are %MW; elsewhere change what "
        "stands after AT.\n",
    ),
    "opcua": (
        "inspection.st: 일반 IEC 61131-3 프로그램 (CODESYS, TwinCAT, NX 등). CTRL과 STAT은 UINT 16개 "
        "배열입니다.\n"
        "두 배열을 OPC UA 서버에 공개하십시오: CTRL은 읽기, STAT은 쓰기. nodes.csv: 워드와 비트의 목록 "
        "(UTF-8 BOM).\n"
        "노드 id는 PLC마다 다릅니다. OPC UA 클라이언트로 찾아 ctrl_node와 stat_node에 쓰십시오. 그다음 "
        "--station으로 다시 만들면 목록에 들어갑니다.\n",
        "inspection.st: a program in plain IEC 61131-3 (CODESYS, TwinCAT, NX and others). CTRL and "
        "STAT are arrays of 16 UINT.\n"
        "Publish both in the PLC's OPC UA server: CTRL to be read, STAT to be written. nodes.csv: "
        "every word and bit (UTF-8 with BOM).\n"
        "Node ids differ from PLC to PLC: find them with an OPC UA client and write them to "
        "ctrl_node and stat_node. Made again with --station, the list has them.\n",
    ),
    "ethernet_ip": (
        "studio5000_tags.csv: Studio 5000 Logix Designer의 태그 가져오기 (Tools > Import). 한글 설명은 "
        "$와 16진수 네 자리로 씁니다.\n"
        "inspection.st: 주기 태스크(10~20 ms)의 ST 루틴 하나에 붙여 넣기. CTRL과 STAT은 INT[16], "
        "External Access는 Read/Write입니다.\n"
        "형식은 공개된 내보내기 파일들과 같지만 제조사 프로그램에서 가져와 보지 않았습니다. 가져오지 못하면 "
        "태그 하나를 내보내 첫 줄들을 비교하십시오.\n"
        "Logix 태그는 정전 뒤에도 값을 유지합니다. 그래서 첫 스캔(S:FS)에 상태를 지웁니다: 이 루틴은 첫 "
        "스캔에도 실행되어야 합니다.\n"
        "타이머는 TONR(FBD_TIMER), 워드는 0~65535의 DINT입니다. Micro800에는 맞지 않습니다.\n",
        "studio5000_tags.csv: for Tools > Import of Studio 5000 Logix Designer. Signs that are not "
        "ASCII are written as $ and four hexadecimal digits.\n"
        "inspection.st: paste it into one Structured Text routine of a periodic task of 10 to 20 "
        "ms. CTRL and STAT are INT[16] with external access Read/Write.\n"
        "The layout is that of public exports; nobody imported it with the maker's tool. If it is "
        "refused, export one tag and compare the first lines.\n"
        "Logix tags keep their values without power, so the first scan (S:FS) forgets the state: "
        "the routine must run in the first scan, too.\n"
        "Timers are TONR (FBD_TIMER), words are DINT of 0 to 65535. It is not for Micro800.\n",
    ),
}
