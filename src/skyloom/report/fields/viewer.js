// A field in its own pixels: pan, zoom, position under the pointer, scale bar, sources of the catalogue.
(() => {
  const field = JSON.parse(document.getElementById("field").textContent);
  const box = document.querySelector(".field .sky");
  const [scaleText, scaleBar] = box.querySelectorAll(".scale b, .scale i");
  const place = box.querySelector(".place");
  const marks = box.querySelector("canvas.marks");
  const wanted = box.querySelector("input");
  if (!window.OpenSeadragon) {
    place.textContent = "page/openseadragon.min.js was not found beside this page";
    return;
  }
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const viewer = OpenSeadragon({
    element: box.querySelector(".view"),
    drawer: "canvas", // WebGL may not read pictures from file://
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
    navigatorSizeRatio: 0.16,
    navigatorAutoFade: false,
    navigatorOpacity: 1,
    maxZoomPixelRatio: 16,
    visibilityRatio: 0.5,
    animationTime: still ? 0 : 0.6,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    tileSources: {
      width: field.width,
      height: field.height,
      tileSize: field.tile,
      minLevel: 0,
      maxLevel: field.depth,
      getTileUrl: (level, column, row) => `page/${level}/${row}_${column}.jpg`,
    },
  });
  const view = viewer.viewport;
  viewer.canvas.append(marks); // below the small view of the whole

  // The picture's first row is the field's last; pixel (0, 0) is the centre of the field's first.
  const ofPicture = (point) => ({ x: point.x - 0.5, y: field.height - 0.5 - point.y });
  const toScreen = (x, y) => {
    const item = viewer.world.getItemAt(0);
    return item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x + 0.5, field.height - 0.5 - y));
  };
  const zoom = () => viewer.world.getItemAt(0).viewportToImageZoom(view.getZoom(true)); // screen pixels to one of the field

  // Gnomonic projection about the field's middle: Calabretta & Greisen 2002, A&A 395, 1077, §5.1.3.
  const onSky = ({ x, y }) => {
    const step = ((field.scale / 3600) * Math.PI) / 180;
    const [ra0, dec0] = field.centre.map((degrees) => (degrees * Math.PI) / 180);
    const east = -(x - (field.width - 1) / 2) * step;
    const north = (y - (field.height - 1) / 2) * step;
    const along = Math.cos(dec0) - north * Math.sin(dec0);
    const ra = ra0 + Math.atan2(east, along);
    const dec = Math.atan2(Math.sin(dec0) + north * Math.cos(dec0), Math.hypot(along, east));
    return [(((ra * 180) / Math.PI) % 360 + 360) % 360, (dec * 180) / Math.PI];
  };
  const sexagesimal = (value, digits, [a, b, c]) => {
    const ticks = Math.round(Math.abs(value) * 3600 * 10 ** digits);
    const seconds = ticks / 10 ** digits;
    const two = (number, decimals = 0) => number.toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
    const last = (ticks % (60 * 10 ** digits)) / 10 ** digits;
    return two(Math.floor(seconds / 3600)) + a + two(Math.floor(seconds / 60) % 60) + b + two(last, digits) + c;
  };

  let pointer = null; // over the picture [pixel], or null
  const tell = () => {
    const from = pointer ?? ofPicture(view.viewportToImageCoordinates(view.getCenter(true)));
    const words = [`x ${from.x.toFixed(1)} y ${from.y.toFixed(1)}`];
    if (field.scale !== null) {
      const [ra, dec] = onSky(from);
      const sign = dec < 0 ? "−" : "+";
      words.unshift(
        `RA ${ra.toFixed(5)}° Dec ${sign}${Math.abs(dec).toFixed(5)}°`,
        `${sexagesimal((ra / 15) % 24, 2, ["h", "m", "s"])} ${sign}${sexagesimal(dec, 1, ["°", "′", "″"])}`
      );
    }
    const near = wanted.checked && pointer && shown() ? nearest(pointer) : null;
    if (near) words.push(`${near[3]}${near[4] === null ? "" : `, ${field.band} ${near[4].toFixed(2)} mag`}`);
    place.replaceChildren(
      ...words.map((word) => Object.assign(document.createElement("span"), { textContent: word }))
    );
  };

  const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000];
  const rule = () => {
    const unit = field.scale ?? 1; // of one pixel: arcseconds, or pixels
    const perUnit = zoom() / unit;
    const steps = field.scale === null ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] : [0.2, 0.5, ...STEPS];
    const length = steps.filter((step) => step * perUnit <= 170).pop() ?? steps[0];
    scaleBar.style.width = `${length * perUnit}px`;
    scaleText.textContent =
      field.scale === null ? `${length} pixels`
      : length < 60 ? `${length}″`
      : length < 3600 ? `${length / 60}′`
      : `${length / 3600}°`;
  };

  const shown = () => zoom() >= 0.45; // further out, sources are smaller than their marks
  const radius = (source) => Math.max(7, 2.5 * source[2] * zoom());
  const nearest = (from) => {
    let best = null;
    let least = Infinity;
    for (const source of field.sources) {
      const apart = Math.hypot(source[0] - from.x, source[1] - from.y) * zoom();
      if (apart < radius(source) && apart < least) [best, least] = [source, apart];
    }
    return best;
  };
  const mark = () => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (marks.width !== width * ratio || marks.height !== height * ratio) {
      marks.width = width * ratio;
      marks.height = height * ratio;
    }
    const pen = marks.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!wanted.checked || !shown()) return;
    pen.lineWidth = 1.2;
    pen.strokeStyle = "rgba(255, 214, 120, .85)";
    for (const source of field.sources) {
      const at = toScreen(source[0], source[1]);
      const r = radius(source);
      if (at.x < -r || at.y < -r || at.x > width + r || at.y > height + r) continue;
      pen.beginPath();
      pen.arc(at.x, at.y, r, 0, 2 * Math.PI);
      pen.stroke();
    }
  };
  const redraw = () => {
    if (!viewer.world.getItemCount()) return;
    viewer.drawer.setImageSmoothingEnabled(zoom() < 3); // from there on, pixels are meant to be seen
    rule();
    mark();
    tell();
  };
  viewer.addHandler("open", redraw);
  viewer.addHandler("update-viewport", redraw);
  viewer.addHandler("resize", redraw);
  wanted.addEventListener("change", redraw);
  box.addEventListener("pointermove", (event) => {
    if (!viewer.world.getItemCount()) return;
    const from = box.querySelector(".view").getBoundingClientRect();
    const at = new OpenSeadragon.Point(event.clientX - from.left, event.clientY - from.top);
    pointer = ofPicture(view.viewportToImageCoordinates(view.pointFromPixel(at, true)));
    if (pointer.x < -0.5 || pointer.y < -0.5 || pointer.x > field.width - 0.5 || pointer.y > field.height - 0.5) pointer = null;
    tell();
  });
  box.addEventListener("pointerleave", () => {
    pointer = null;
    if (viewer.world.getItemCount()) tell();
  });
  const actions = {
    in: () => view.zoomBy(2).applyConstraints(),
    out: () => view.zoomBy(0.5).applyConstraints(),
    all: () => view.goHome(),
    full: () => (document.fullscreenElement ? document.exitFullscreen() : box.requestFullscreen()),
  };
  for (const button of box.querySelectorAll("button")) button.addEventListener("click", actions[button.name]);
  window.fieldViewer = viewer; // for whoever wants to script the page
})();
