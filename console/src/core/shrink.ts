// Photos before they are sent: small enough for a weak network, and without what the camera wrote
// beside the picture (place, owner).

const LONGEST_PX = 1_600;
const QUALITY = 0.8;
/** What the service takes at most. */
export const MOST_BYTES = 20 * 1024 * 1024;

/** Width and height with the longer side at most `most`; small pictures stay as they are. */
export function fitted(width: number, height: number, most = LONGEST_PX): [width: number, height: number] {
  const scale = Math.min(1, most / Math.max(width, height, 1));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

export interface Shrunk { file: Blob; name: string }

/** A JPEG of at most 1,600 px for a picture this browser can read; anything else as it came. */
export async function shrunk(file: File): Promise<Shrunk> {
  if (!file.type.startsWith("image/")) return { file, name: file.name };
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const [width, height] = fitted(picture.width, picture.height);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d")!.drawImage(picture, 0, 0, width, height);
    picture.close();
    const small = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    if (small) return { file: small, name: `${file.name.replace(/\.[^.]*$/, "") || "photo"}.jpg` };
  } catch {
    // not a picture after all, or larger than this phone can hold: the service judges it
  }
  return { file, name: file.name };
}
