// Is this a phone, as far as the room on its screen goes?
import { shallowRef } from "vue";

const query = window.matchMedia("(max-width: 720px)");
export const narrow = shallowRef(query.matches);
query.addEventListener("change", () => (narrow.value = query.matches));
