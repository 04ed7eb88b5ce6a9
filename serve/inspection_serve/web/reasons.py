"""Reasons in words: what it is, its cause, and what to do, for the pages of all areas.

Short, as on a panel; docs/reasons.md has the whole story. The store keeps codes, words are made here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inspection.types import Reason


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


class Words(NamedTuple):
    """What people read of a reason or an alarm, not translated yet.

    Attributes:
        text: what it is.
        cause: why.
        action: what to do.
    """

    text: str
    cause: str
    action: str


REASONS: dict[Reason, Words] = {
    Reason.NONE: Words(
        _mark("Proven good"),
        _mark("Every condition held and nothing was found."),
        _mark("Nothing."),
    ),
    Reason.DEFECT: Words(
        _mark("Defect found"),
        _mark("A defect reached the limit T2."),
        _mark(
            "Look at the part. If good parts fail often, have them labelled and the model trained again."
        ),
    ),
    Reason.BORDERLINE: Words(
        _mark("Borderline"),
        _mark("A finding lies between T1 and T2."),
        _mark("Hold the part and judge it again."),
    ),
    Reason.TOO_MANY: Words(
        _mark("Too many"),
        _mark("There are more findings of a class than the recipe allows or expects."),
        _mark("Look at the part; check counts and region in the recipe."),
    ),
    Reason.TOO_FEW: Words(
        _mark("Something is missing"),
        _mark("There is less than the recipe expects."),
        _mark("Look at the part. If it is complete, check light and position."),
    ),
    Reason.ANOMALY: Words(
        _mark("Unlike the good parts"),
        _mark("The part differs from the good parts that the model learned."),
        _mark("Look at the part. New material, dirt and other light also look different."),
    ),
    Reason.CODE_MISSING: Words(
        _mark("No code on the part"),
        _mark("The code that every part must carry could not be read."),
        _mark("Look at the code. If it is clean, check light, focus and the box in the recipe."),
    ),
    Reason.CODE_WRONG: Words(
        _mark("Wrong code on the part"),
        _mark("The code that was read is not the one expected, or several fit."),
        _mark("Check label and part, then the pattern in the recipe."),
    ),
    Reason.OVERRUN: Words(
        _mark("Trigger too early"),
        _mark("The next part was triggered while one was still in work."),
        _mark("Compare takt and cycle time; let the PLC wait for READY."),
    ),
    Reason.NOT_READY: Words(
        _mark("Trigger without READY"),
        _mark("The part was triggered while the station could not inspect."),
        _mark("Follow the second reason; let the PLC wait for READY."),
    ),
    Reason.DEADLINE: Words(
        _mark("Too late"),
        _mark("No decision could be published in time."),
        _mark("Look which stage was slow: camera, model or store."),
    ),
    Reason.SUPERSEDED: Words(
        _mark("The PLC did not wait"),
        _mark("The PLC went on before it had the answer."),
        _mark("Check the PLC program. After a RESET by hand nothing is wrong."),
    ),
    Reason.RESTART: Words(
        _mark("Line program restarted"),
        _mark("The line program ended while the part was in work."),
        _mark("Take the part out and inspect it again; look into the log."),
    ),
    Reason.STOPPED: Words(
        _mark("Being stopped"),
        _mark("Somebody stopped the line program."),
        _mark("Start the station again."),
    ),
    Reason.MISSED: Words(
        _mark("Trigger lost"),
        _mark("The trigger never reached the station."),
        _mark("Inspect the parts of that time again; look for the gap in the log."),
    ),
    Reason.CAMERA_TIMEOUT: Words(
        _mark("No picture in time"),
        _mark("The camera gave no picture in time."),
        _mark("Check trigger cable, camera power and network."),
    ),
    Reason.CAMERA_LOST: Words(
        _mark("Camera offline"),
        _mark("The camera is not there."),
        _mark("Check power, cable and network of the camera."),
    ),
    Reason.FRAME_STALE: Words(
        _mark("Old picture"),
        _mark("The picture was taken before the trigger."),
        _mark("Check that nobody else reads the camera; the camera is opened again."),
    ),
    Reason.FRAME_REPEATED: Words(
        _mark("Same picture number again"),
        _mark("The camera gave the last picture once more."),
        _mark("If it comes again, check network, driver and firmware."),
    ),
    Reason.FRAME_IDENTICAL: Words(
        _mark("Camera frozen"),
        _mark("Two pictures were the same byte for byte."),
        _mark("Restart the camera; check exposure and light."),
    ),
    Reason.FRAME_SIZE: Words(
        _mark("Wrong picture size"),
        _mark("The picture has another size than the recipe expects."),
        _mark("Set the camera back, or correct the recipe."),
    ),
    Reason.FRAME_DARK: Words(
        _mark("Picture too dark"),
        _mark("Light off or weak, or the lens is covered."),
        _mark("Check light and strobe, then the lens."),
    ),
    Reason.FRAME_BRIGHT: Words(
        _mark("Picture too bright"),
        _mark("Exposure too long, or light from outside."),
        _mark("Check light and exposure."),
    ),
    Reason.FRAME_FLAT: Words(
        _mark("Picture without contrast"),
        _mark("No part in view, or far out of focus."),
        _mark("Check that a part lies there when it is triggered; then focus and lens."),
    ),
    Reason.FRAME_INVALID: Words(
        _mark("Picture cannot be read"),
        _mark("The picture is broken or cannot be decoded."),
        _mark("Check cable and network; the log has the detail."),
    ),
    Reason.INFERENCE_FAILED: Words(
        _mark("Model gave no answer"),
        _mark("The inference service ended or the runtime failed."),
        _mark("It is started again by itself. If it stays, look into the log of the service."),
    ),
    Reason.INFERENCE_TIMEOUT: Words(
        _mark("Model too slow"),
        _mark("The model did not answer in time."),
        _mark("Check the load of the PC."),
    ),
    Reason.MODEL_OUTPUT: Words(
        _mark("Model answer not valid"),
        _mark("The answer of the model cannot be believed."),
        _mark("Check the accelerator; go back to the release before."),
    ),
    Reason.MODEL_MISMATCH: Words(
        _mark("Wrong model answered"),
        _mark("Another model answered than was asked."),
        _mark("Check that line and service use the same releases folder."),
    ),
    Reason.MODEL_LOADING: Words(
        _mark("Model is being loaded"),
        _mark("The release is not warm yet."),
        _mark("Wait. If it lasts over a minute, check that the service runs."),
    ),
    Reason.RELEASE_INVALID: Words(
        _mark("Release damaged"),
        _mark("The release is missing, altered or not to the contract."),
        _mark("Restore the release from the backup."),
    ),
    Reason.STORE_FAILED: Words(
        _mark("Results cannot be stored"),
        _mark("Disk full or broken, or the database is locked or away."),
        _mark("Free the disk or bring the database back; it is tried again by itself."),
    ),
    Reason.PICTURES_LOST: Words(
        _mark("Pictures are not kept"),
        _mark("Parts are judged, but the disk of the pictures is full or slow."),
        _mark("Look at the disk of the pictures."),
    ),
    Reason.RECIPE_UNKNOWN: Words(
        _mark("No such recipe"),
        _mark("No recipe file has this number."),
        _mark("Correct the number in the PLC, or add the recipe."),
    ),
    Reason.RECIPE_INVALID: Words(
        _mark("Recipe is wrong"),
        _mark("The recipe file has an error."),
        _mark("The log names the line; an engineer corrects the file."),
    ),
    Reason.RECIPE_NONE: Words(
        _mark("No recipe"),
        _mark("No recipe is in force yet."),
        _mark("Request a recipe at the PLC, or choose one here."),
    ),
    Reason.PLC_HEARTBEAT: Words(
        _mark("PLC stands still"),
        _mark("The heartbeat of the PLC does not change."),
        _mark("Set the PLC to RUN."),
    ),
    Reason.PLC_LINK: Words(
        _mark("No link to the PLC"),
        _mark("There is no connection to the PLC."),
        _mark("Check network cable, switch and PLC."),
    ),
    Reason.PLC_SHARED: Words(
        _mark("Another station at this PLC"),
        _mark("Another station writes its answers to the same words of the PLC."),
        _mark(
            "Stop the other station (an old PC, a demo, a laptop) or give it its own addresses, then start "
            "this line anew."
        ),
    ),
    Reason.MAP_VERSION: Words(
        _mark("PLC program does not fit"),
        _mark("The PLC uses another version of the word map."),
        _mark("Load the PLC program that belongs to this version."),
    ),
    Reason.PLC_NO_ACK: Words(
        _mark("PLC did not acknowledge"),
        _mark("The PLC did not raise RESULT_ACK in time."),
        _mark("Check the acknowledgement in the PLC program. The answer was given."),
    ),
    Reason.PLC_DISABLED: Words(
        _mark("Line not enabled"),
        _mark("The PLC does not hold ENABLE: manual mode, stopped line or open guard."),
        _mark("Start the line at the PLC."),
    ),
    Reason.SCANNER_LOST: Words(
        _mark("Scanner offline"),
        _mark("The code scanner is not connected."),
        _mark("Check power and cable of the scanner."),
    ),
    Reason.SERIAL_NONE: Words(
        _mark("No serial from the PLC"),
        _mark("The PLC gave no serial to compare the code with."),
        _mark("Let the PLC write the serial before the trigger."),
    ),
    Reason.UPWARD_LATE: Words(
        _mark("MES, QMS or another receiver is behind"),
        _mark("A receiver is away or too slow: what the station decided has waited too long."),
        _mark("Check network and receiver. Nothing is lost: it is sent when the receiver is back."),
    ),
    Reason.UPWARD_REFUSED: Words(
        _mark("A receiver refused messages"),
        _mark(
            "MES, QMS or another receiver refused what it was told; the messages are kept aside."
        ),
        _mark("Mend the receiver, then have them sent again: inspection upward --retry."),
    ),
    Reason.INTERNAL: Words(
        _mark("Program error"),
        _mark("An error of the program itself."),
        _mark("Keep the log and report it."),
    ),
}
"""Every reason; a test sees to it."""

ALARMS: dict[str, Words] = {
    "REPEATED_NG": Words(
        _mark("NG several times in a row"),
        _mark("Several parts in a row are NG."),
        _mark("Look at the parts and at the machine before this station."),
    ),
    "NG_RATE": Words(
        _mark("NG rate is high"),
        _mark("Too many of the latest parts are NG."),
        _mark("Look at the latest pictures: real defects, or dirt and light?"),
    ),
    "OVERRULE_RATE": Words(
        _mark("False calls are high"),
        _mark("People overrule too many of the NG parts that they judge."),
        _mark("Look at the overruled parts by reason, then train or set the limits again."),
    ),
    "LINE_SILENT": Words(
        _mark("The line says nothing"),
        _mark("The line program does not run, or hangs."),
        _mark("Check that it runs (inspection up); what is shown below is old."),
    ),
    "LINE_STOPPED": Words(
        _mark("The line was stopped"),
        _mark("Somebody stopped the line program."),
        _mark("Start the station again."),
    ),
}
"""What is an alarm for people without being a reason of the line."""


def words_of(code: str) -> Words:
    """Return the words of a reason's name or an alarm's code; an unknown one is its own text."""
    if code in ALARMS:
        return ALARMS[code]
    try:
        return REASONS[Reason[code]]
    except KeyError:
        return Words(code, "", "")


def reason_text(translate: Callable[[str], str], code: str | None) -> str:
    """Return the short text of a stored reason, as `Camera offline`; empty for None."""
    return translate(words_of(code).text) if code else ""
