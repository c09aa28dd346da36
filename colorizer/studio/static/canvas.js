// Draws a picture with its hints, the brush and the crosshair; and says what colour it has at a place.

const OUTLINES = [[4, "#000c"], [2, "#fff"]]; // px around a hint: seen on any colour
const LEAST_PX = 3; // the radius at which a hint is drawn at least
const SHARP = 3; // from this scale on the picture's pixels are seen as squares
const CROSS_PX = 14;

export function draw(element, scene, view) {
  const context = element.getContext("2d");
  const ratio = devicePixelRatio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, element.width, element.height);
  if (!scene.size) return;
  context.save();
  context.translate(view.left, view.top);
  context.scale(view.scale, view.scale);
  context.imageSmoothingEnabled = view.scale < SHARP;
  context.imageSmoothingQuality = "high";
  drawPicture(context, scene);
  context.restore();
  if (scene.areHintsShown) for (const stroke of scene.hints.strokes) drawStroke(context, stroke, view);
  if (scene.brush) drawBrush(context, scene, view);
  if (scene.cross) drawCross(context, view.toCanvas(scene.cross.x, scene.cross.y));
}

// ``#rrggbb`` of what is shown, hints aside.
export function pickColour(scene, x, y) {
  const dot = document.createElement("canvas");
  dot.width = dot.height = 1;
  const context = dot.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.translate(-Math.floor(x), -Math.floor(y));
  drawPicture(context, scene);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return `#${[red, green, blue].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

function drawPicture(context, { size: { width, height }, sketch, colours, shown }) {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  const first = shown === "sketch" ? sketch ?? colours : colours ?? sketch;
  if (first) context.drawImage(first, 0, 0, width, height);
  if (shown === "both" && sketch && first === colours) {
    context.globalCompositeOperation = "multiply";
    context.drawImage(sketch, 0, 0, width, height);
    context.globalCompositeOperation = "source-over";
  }
}

function drawStroke(context, { colour, radius, points }, view) {
  const path = new Path2D();
  const first = view.toCanvas(points[0].x, points[0].y);
  path.moveTo(first.x, first.y);
  for (const point of points) {
    const { x, y } = view.toCanvas(point.x, point.y);
    path.lineTo(x, y);
  }
  context.lineCap = context.lineJoin = "round";
  const width = 2 * Math.max(LEAST_PX, radius * view.scale);
  for (const [more, style] of [...OUTLINES, [0, colour]]) {
    context.lineWidth = width + more;
    context.strokeStyle = style;
    context.stroke(path);
  }
}

function drawBrush(context, { brush: { x, y }, radius }, view) {
  for (const [width, style] of [[3, "#000c"], [1.5, "#fff"]]) {
    context.beginPath();
    context.arc(x, y, Math.max(1, radius * view.scale), 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}

function drawCross(context, { x, y }) {
  context.lineCap = "butt";
  for (const [width, style] of [[4, "#fff"], [2, "#000"]]) {
    context.beginPath();
    context.moveTo(x - CROSS_PX, y);
    context.lineTo(x + CROSS_PX, y);
    context.moveTo(x, y - CROSS_PX);
    context.lineTo(x, y + CROSS_PX);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}
