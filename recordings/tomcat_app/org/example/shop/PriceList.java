package org.example.shop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Prices in cents, read from a file of lines `item,price` and changed by hand. */
final class PriceList {
    private static final Logger LOG = Logger.getLogger(PriceList.class.getName());
    private static final Map<Integer, Integer> PRICES = new ConcurrentHashMap<>();

    private PriceList() {}

    static void read(Path file) throws IOException {
        int wrong = 0;
        int number = 0;
        for (String line : Files.readAllLines(file, java.nio.charset.StandardCharsets.ISO_8859_1)) {
            number++;
            try {
                set(line);
            } catch (RuntimeException error) {
                if (++wrong <= 3) {
                    LOG.log(Level.WARNING, file.getFileName() + " line " + number + " is no price", error);
                }
            }
        }
        LOG.info("read " + (number - wrong) + " prices from " + file.getFileName() + ", " + wrong + " lines skipped");
    }

    static void set(String line) {
        String[] parts = line.split(",");
        PRICES.put(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
    }

    static int of(int item) {
        return PRICES.getOrDefault(item, 990);
    }
}
