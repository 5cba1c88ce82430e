// The kept items on this phone's disk. Where the browser gives none, they live as long as the page,
// and the page says so.
import type { Kept } from "./outboxPlan.ts";

export interface Storage {
  durable: boolean;
  all(): Promise<Kept[]>;
  put(item: Kept): Promise<number>;
  remove(n: number): Promise<void>;
}

const answered = <Value>(request: IDBRequest<Value>) => new Promise<Value>((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error ?? new Error("storage"));
});

async function onDisk(): Promise<Storage> {
  const opening = indexedDB.open("hazardloop", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("outbox", { keyPath: "n", autoIncrement: true });
  const database = await answered(opening);
  const within = (mode: IDBTransactionMode) => database.transaction("outbox", mode, { durability: "strict" });
  const written = async <Value>(act: (store: IDBObjectStore) => IDBRequest<Value>): Promise<Value> => {
    const transaction = within("readwrite");
    const value = await answered(act(transaction.objectStore("outbox")));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("storage"));
    });
    return value;
  };
  return {
    durable: true,
    all: () => answered(within("readonly").objectStore("outbox").getAll() as IDBRequest<Kept[]>),
    put: async (item) => Number(await written((store) => store.put(item))),
    remove: async (n) => void (await written((store) => store.delete(n))),
  };
}

function inMemory(): Storage {
  const items = new Map<number, Kept>();
  let last = 0;
  return {
    durable: false,
    all: () => Promise.resolve([...items.values()]),
    put: (item) => {
      const n = item.n ?? (last += 1);
      items.set(n, { ...item, n });
      return Promise.resolve(n);
    },
    remove: (n) => Promise.resolve(void items.delete(n)),
  };
}

export async function openStorage(): Promise<Storage> {
  try {
    return await onDisk();
  } catch {
    return inMemory(); // private windows of some browsers
  }
}
