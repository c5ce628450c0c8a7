export const percent = (share) => `${Math.round(share * 100)} %`;
export const seconds = (value) => (value < 100 ? value.toFixed(0) : Math.round(value).toLocaleString("en"));
export const milliseconds = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));

export function words(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object")
    return Object.entries(value)
      .map(([name, one]) => `${name} ${words(one)}`)
      .join(", ");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}
