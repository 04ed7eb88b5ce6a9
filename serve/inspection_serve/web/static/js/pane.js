// One pane of the viewer: OpenSeadragon with pictures that are all one unit wide, and its library.
import { _ } from "/static/js/text.js";
import { get, Problem } from "/static/js/api.js";

const LIBRARY = "/static/vendor/openseadragon.min.js";
const PYRAMID_FROM = 4e6; // pixels from which smaller copies are drawn, so that panning stays smooth
const MOST_ZOOM = 24; // screen pixels for one of the picture's
const CACHED = 6; // pictures that OpenSeadragon keeps decoded
const LATE = 20000; // milliseconds after which a picture that did not come is given up

let library = null;
// OpenSeadragon adds a <style> unless it finds one of its own; our policy allows none, and viewer.css has it.
// An element of that name outside HTML styles nothing and is found all the same.
function markStyled() {
  const mark = document.createElementNS("", "style");
  mark.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(mark);
}

export function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    markStyled();
    if (window.OpenSeadragon) return resolve(window.OpenSeadragon);
    const script = document.createElement("script");
    script.src = LIBRARY;
    script.onload = () => resolve(window.OpenSeadragon);
    script.onerror = () => {
      library = null;
      reject(new Problem(0, "no_answer", LIBRARY));
    };
    document.head.append(script);
  });
  return library;
}

// A picture that did not load: ask the server why, so that the page can say it.
async function whyNot(url) {
  try {
    await get(url);
  } catch (problem) {
    if (problem instanceof Problem) return problem;
  }
  return new Problem(0, "not_decoded", _("The picture cannot be shown."));
}

// One pane: an OpenSeadragon viewer whose pictures are all one unit wide.
export class Pane {
  constructor(Library, element, label) {
    this.Library = Library;
    this.element = element;
    this.osd = Library({
      element,
      drawer: "canvas",
      showNavigationControl: false,
      keyboardNavEnabled: false,
      immediateRender: true,
      blendTime: 0,
      animationTime: 0.12,
      springStiffness: 12,
      minZoomImageRatio: 0.3,
      maxZoomPixelRatio: MOST_ZOOM,
      visibilityRatio: 0.3,
      maxImageCacheCount: CACHED,
      timeout: LATE,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false, flickEnabled: false },
      gestureSettingsTouch: { dblClickToZoom: false, dblClickDragToZoom: false, flickEnabled: false },
      gestureSettingsPen: { clickToZoom: false },
    });
    this.osd.canvas.setAttribute("role", "group");
    this.osd.canvas.setAttribute("aria-label", label);
    this.item = null; // the part's picture
    this.width = 1;
    this.smooth = true;
    this.osd.addHandler("update-viewport", () => this.#sharpen());
  }

  get viewport() {
    return this.osd.viewport;
  }

  // Pixels of the pane for the picture's left top corner, and for one of its pixels.
  place() {
    const origin = this.viewport.pixelFromPoint(new this.Library.Point(0, 0), true);
    const right = this.viewport.pixelFromPoint(new this.Library.Point(1, 0), true);
    return { x: origin.x, y: origin.y, scale: (right.x - origin.x) / this.width };
  }

  #sharpen() {
    if (!this.item) return;
    const smooth = this.place().scale * window.devicePixelRatio <= 1.001;
    if (smooth === this.smooth) return;
    this.smooth = smooth; // above 1:1 every pixel of the camera is seen as it is
    this.osd.drawer.setImageSmoothingEnabled(smooth);
  }

  // Load a picture unseen. Rejects when it does not come.
  load(url, pixels = 0) {
    return new Promise((resolve, reject) => {
      let loading = null;
      const late = setTimeout(() => {
        this.drop(loading);
        reject(new Problem(0, "no_answer", _("The picture did not come in time.")));
      }, LATE);
      const ending = (call) => (value) => {
        clearTimeout(late);
        call(value);
      };
      const source = new this.Library.ImageTileSource({ url, buildPyramid: pixels > PYRAMID_FROM });
      this.osd.addTiledImage({
        tileSource: source,
        width: 1,
        opacity: 0,
        preload: true,
        success: ({ item }) => {
          loading = item;
          if (item.getFullyLoaded()) ending(resolve)(item);
          else item.addOnceHandler("fully-loaded-change", () => ending(resolve)(item));
        },
        error: async () => ending(reject)(await whyNot(url)),
      });
    });
  }

  // Show a loaded picture in place of the one before, in the same frame.
  put(item, width) {
    if (this.item && this.item !== item) this.osd.world.removeItem(this.item);
    this.item = item;
    this.width = width;
    if (!item) return;
    this.osd.world.setItemIndex(item, 0);
    item.setOpacity(1);
    this.osd.forceRedraw();
  }

  drop(item) {
    if (item && this.osd.world.getIndexOfItem(item) >= 0) this.osd.world.removeItem(item);
  }

  // Resolves when the item that was put is on the screen: OpenSeadragon has drawn all of it, and the browser
  // has painted the frame. Drawing happens in a frame's callback; a message sent there comes after the painting.
  painted(item) {
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      const drawn = () => {
        if (this.item === item && !item.getFullyLoaded()) return;
        this.osd.removeHandler("update-viewport", drawn);
        port2.postMessage(null);
      };
      this.osd.addHandler("update-viewport", drawn);
      this.osd.forceRedraw();
    });
  }
}
