// Okabe and Ito's colours, which colour-blind people can tell apart, in the order of the model's labels.
const COLOURS = ["#56b4e9", "#cc79a7", "#009e73", "#e69f00", "#0072b2", "#d55e00", "#999999", "#f0e442"];

// Beyond those eight, hues a golden angle apart, in turns dark, light and in between: no two labels share one.
export const colour = (label) => COLOURS[label] ?? spread(label - COLOURS.length);

function spread(place) {
  const [hue, light, strong] = [(20 + place * 137.508) % 360, [0.34, 0.74, 0.52][place % 3], 0.62];
  const part = (shift) => {
    const at = (shift + hue / 30) % 12;
    const value = light - strong * Math.min(light, 1 - light) * Math.max(-1, Math.min(at - 3, 9 - at, 1));
    return Math.round(value * 255).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}

// The canvas at the screen's own resolution, empty, in CSS pixels.
export function sized(canvas, width, height) {
  const dense = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const pen = canvas.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

export function bright(hex) {
  const [red, green, blue] = [1, 3, 5].map((start) => (parseInt(hex.slice(start, start + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2;
}
